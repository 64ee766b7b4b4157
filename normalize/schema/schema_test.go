package schema

import (
	"strings"
	"testing"
)

func TestBuiltInNames(t *testing.T) {
	var names *Names
	for _, test := range []struct{ what, got, want string }{
		{"RecordType 6", names.RecordType(6), "SharePointFileOperation"},
		{"RecordType 79, contested", names.RecordType(79), ""},
		{"RecordType 137, unknown", names.RecordType(137), ""},
		{"RecordType 372, contested", names.RecordType(372), ""},
		{"RecordType 1<<40", names.RecordType(1 << 40), ""},
		{"UserType 0", names.UserType(0), "Regular"},
		{"LogonType 2", names.LogonType(2), "Delegated"},
		{"LogonType -1", names.LogonType(-1), ""},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", test.what, test.got, test.want)
		}
	}
}

func TestLoadNamesAddsAndOverrides(t *testing.T) {
	names, err := LoadNames(strings.NewReader("enum,value,name\n# ours\nRecordType,79,PowerAppsResource\n\nUserType, 0, Member\nLogonType,9,Robot\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ what, got, want string }{
		{"added", names.RecordType(79), "PowerAppsResource"},
		{"overridden", names.UserType(0), "Member"},
		{"added", names.LogonType(9), "Robot"},
		{"built in", names.RecordType(1), "ExchangeAdmin"},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", test.what, test.got, test.want)
		}
	}
}

func TestLoadNamesErrorsNameTheLine(t *testing.T) {
	for _, test := range []struct{ file, want string }{
		{"RecordType,1,A\nrecordtype,1,A\n", `line 2: enum "recordtype" is none of`},
		{"enum,value,name\nRecordType,one,A\n", `line 2: value "one" is not an integer`},
		{"RecordType,1\n", "line 1: 2 fields, want enum,value,name"},
		{"RecordType,1,\n", "line 1: the name of RecordType 1 is empty"},
		{"RecordType,1,A\nRecordType,2,\"B\n", "line 2"},
	} {
		if _, err := LoadNames(strings.NewReader(test.file)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got error %v, want %q in it", test.file, err, test.want)
		}
	}
}

func TestCategory(t *testing.T) {
	for _, test := range []struct {
		workload   string
		recordType int64
		operation  string
		want       string
	}{
		{"SharePoint", 6, "FileAccessed", "file"},
		{"OneDrive", 6, "FileSyncUploadedFull", "synchronization"},
		{"SharePoint", 14, "SharingSet", "sharing"},
		{"SharePoint", 4, "SiteCollectionCreated", "site_administration"},
		{"Exchange", 50, "MailItemsAccessed", "mailbox"},
		{"Exchange", 1, "Add-MailboxPermission", "mailbox"},
		{"Exchange", 1, "Add-RoleGroupMember", "role_administration"},
		{"Exchange", 1, "Set-TransportRule", "other"},
		{"AzureActiveDirectory", 8, "Add User.", "user_administration"},
		{"AzureActiveDirectory", 8, "Add member to group.", "group_administration"},
		{"AzureActiveDirectory", 8, "Consent to application.", "application_administration"},
		{"AzureActiveDirectory", 8, "Add member to role.", "role_administration"},
		{"AzureActiveDirectory", 8, "Set Company Information.", "directory_administration"},
		{"AzureActiveDirectory", 8, "Something new.", "directory_administration"},
		{"AzureActiveDirectory", -1, "", "directory_administration"},
		{"AzureActiveDirectory", 15, "UserLoggedIn", "logon"},
		{"Exchange", 13, "DlpRuleMatch", "dlp"},
		{"PowerBI", 20, "ViewReport", "other"},
		{"", -1, strings.Repeat("x", 1000), "other"},
	} {
		if got := Category([]byte(test.workload), test.recordType, []byte(test.operation)); got != test.want {
			t.Errorf("%s %d %.30s: got %s, want %s", test.workload, test.recordType, test.operation, got, test.want)
		}
	}
}

func TestStableType(t *testing.T) {
	for key, want := range map[string]Type{"ExternalAccess": Boolean, "RecordType": Integer, "Workload": Any} {
		if got := StableType([]byte(key)); got != want {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
}
