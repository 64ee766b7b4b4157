package normalize

import (
	"strings"
	"testing"
)

// benchmarkRecords are made-up records of the families that most records belong to.
var benchmarkRecords = []struct{ family, record string }{
	{"SharePointFile", `{"AppAccessContext":{"AADSessionId":"00000000-0000-4000-8000-000000000002","CorrelationId":"00000000-0000-4000-8000-000000000003","UniqueTokenId":"AAAAAAAAAAAAAAAAAAAAAA"},` +
		benchmarkCommon + `"Operation":"FileAccessed","RecordType":6,"Workload":"SharePoint","ObjectId":"https://contoso.example/sites/finance/Shared Documents/budget.xlsx","ClientIP":"198.51.100.7","EventSource":"SharePoint","ItemType":"File","ListId":"00000000-0000-4000-8000-000000000004","Site":"00000000-0000-4000-8000-000000000005","UserAgent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36","WebId":"00000000-0000-4000-8000-000000000006","HighPriorityMediaProcessing":false,"SourceFileExtension":"xlsx","SiteUrl":"https://contoso.example/sites/finance/","SourceFileName":"budget.xlsx","SourceRelativeUrl":"Shared Documents"}`},
	{"ExchangeAdmin", `{` + benchmarkCommon + `"Operation":"Set-Mailbox","RecordType":1,"ResultStatus":"True","Workload":"Exchange","ClientIP":"[2001:db8::1]:443","ObjectId":"CONTOSO\\user","AppId":"","ClientAppId":"","ExternalAccess":false,"OrganizationName":"contoso.example","OriginatingServer":"SERVER (15.20.0000.000)\r\n","Parameters":[{"Name":"Identity","Value":"user@contoso.example"},{"Name":"ForwardingSmtpAddress","Value":"smtp:other@contoso.example"},{"Name":"DeliverToMailboxAndForward","Value":"True"},{"Name":"Force","Value":"True"}],"SessionId":"00000000-0000-4000-8000-000000000007"}`},
	{"Entra", `{` + benchmarkCommon + `"Operation":"Update user.","RecordType":8,"ResultStatus":"Success","Workload":"AzureActiveDirectory","ObjectId":"user@contoso.example","AzureActiveDirectoryEventType":1,"ExtendedProperties":[{"Name":"additionalDetails","Value":"{\"UserType\":\"Member\"}"},{"Name":"extendedAuditEventCategory","Value":"User"}],"ModifiedProperties":[{"Name":"AccountEnabled","NewValue":"[\r\n  true\r\n]","OldValue":"[\r\n  false\r\n]"},{"Name":"Included Updated Properties","NewValue":"AccountEnabled","OldValue":""}],"Actor":[{"ID":"admin@contoso.example","Type":5},{"ID":"10030000AAAAAAAA","Type":3},{"ID":"User_00000000-0000-4000-8000-000000000008","Type":2}],"ActorContextId":"00000000-0000-4000-8000-00000000000a","InterSystemsId":"00000000-0000-4000-8000-00000000000b","IntraSystemId":"00000000-0000-4000-8000-00000000000c","Target":[{"ID":"User_00000000-0000-4000-8000-000000000009","Type":2},{"ID":"user@contoso.example","Type":5}],"TargetContextId":"00000000-0000-4000-8000-00000000000a"}`},
	{"MailItemsAccessed", `{` + benchmarkCommon + `"Operation":"MailItemsAccessed","RecordType":50,"ResultStatus":"Succeeded","Workload":"Exchange","LogonType":0,"InternalLogonType":0,"ClientIPAddress":"198.51.100.7","ClientInfoString":"Client=OWA;Action=ViaProxy","MailboxGuid":"00000000-0000-4000-8000-00000000000d","MailboxOwnerUPN":"user@contoso.example","OperationProperties":[{"Name":"MailAccessType","Value":"Bind"},{"Name":"IsThrottled","Value":"False"}],"Folders":[{"FolderItems":[{"InternetMessageId":"<1@contoso.example>","SizeInBytes":1000},{"InternetMessageId":"<2@contoso.example>","SizeInBytes":2000}],"Id":"LgAAAAA1","Path":"\\Inbox"},{"FolderItems":[{"InternetMessageId":"<3@contoso.example>","SizeInBytes":3000}],"Id":"LgAAAAA2","Path":"\\Sent"}],"OperationCount":3}`},
	{"DLP", `{` + benchmarkCommon + `"Operation":"DLPRuleMatch","RecordType":13,"Workload":"Exchange","ObjectId":"<4@contoso.example>","IncidentId":"00000000-0000-4000-8000-00000000000e","SensitiveInfoDetectionIsIncluded":true,"PolicyDetails":[{"PolicyId":"00000000-0000-4000-8000-00000000000f","PolicyName":"Cards","Rules":[{"Actions":["NotifyUser"],"ConditionsMatched":{"SensitiveInformation":[{"Confidence":85,"Count":2,"SensitiveInformationDetections":{"DetectedValues":[{"Name":"0000111122223333","Value":"card 0000111122223333"},{"Name":"4444555566667777","Value":"card 4444555566667777"}],"ResultsTruncated":false},"SensitiveType":"00000000-0000-4000-8000-000000000010"}]},"RuleId":"00000000-0000-4000-8000-000000000011","RuleMode":"Enable","RuleName":"Low volume","Severity":"Low"}]}]}`},
}

const benchmarkCommon = `"CreationTime":"2026-01-01T10:11:12","Id":"00000000-0000-4000-8000-000000000001","OrganizationId":"00000000-0000-4000-8000-0000000000aa","UserId":"user@contoso.example","UserKey":"i:0h.f|membership|10030000aaaaaaaa@live.com","UserType":0,"Version":1,`

func BenchmarkAppendRecord(b *testing.B) {
	src := &Source{Tenant: "00000000-0000-4000-8000-0000000000aa", ContentType: "Audit.General"}
	for _, test := range benchmarkRecords {
		b.Run(test.family, func(b *testing.B) {
			e := newEncoder(b, Options{EventTag: DefaultEventTag})
			record := []byte(test.record)
			dst, info := e.AppendRecord(nil, record, src)
			if info.Unreadable != "" {
				b.Fatal(info.Unreadable)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(record)))
			for b.Loop() {
				dst, _ = e.AppendRecord(dst[:0], record, src)
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	var records []string
	for range 100 {
		for _, test := range benchmarkRecords {
			records = append(records, test.record)
		}
	}
	blob := "[" + strings.Join(records, ",") + "]"
	r := NewReader(nil, 0)
	b.ReportAllocs()
	b.SetBytes(int64(len(blob)))
	for b.Loop() {
		r.Reset(strings.NewReader(blob))
		for range records {
			if record, err := r.Next(); err != nil || record.Problem != "" {
				b.Fatal(record.Problem, err)
			}
		}
	}
}
