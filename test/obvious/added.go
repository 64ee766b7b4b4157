package obvious

import (
	"encoding/json"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"in_office365/normalize/schema"
)

// names are the built-in ones.
var names *schema.Names

// add adds the keys that every event has, and those that are told from the record.
func add(flat, members map[string]interface{}, tenant, contentType string) {
	flat["o365_tag"] = eventTag
	flat["o365_tenant"] = tenant
	flat["o365_content_type"] = contentType
	if id, ok := members["Id"].(string); ok {
		flat["o365_id"] = id
	}
	recordType, ok := integer(members["RecordType"])
	if !ok {
		recordType = -1
	}
	for key, name := range map[string]string{
		"o365_record_type": names.RecordType(recordType),
		"o365_user_type":   nameOf(members["UserType"], names.UserType),
		"o365_logon_type":  nameOf(members["LogonType"], names.LogonType),
		"o365_outcome":     outcome(recordType, members),
	} {
		if name != "" {
			flat[key] = name
		}
	}
	workload, _ := members["Workload"].(string)
	operation, _ := members["Operation"].(string)
	flat["o365_category"] = schema.Category([]byte(workload), recordType, []byte(operation))
	for _, name := range []string{"ClientIP", "ClientIPAddress", "ActorIpAddress"} {
		if text, ok := members[name].(string); ok && addAddress(flat, strings.TrimSpace(text)) {
			return
		}
	}
}

func integer(value interface{}) (int64, bool) {
	switch value := value.(type) {
	case json.Number:
		i, err := value.Int64()
		return i, err == nil
	case string:
		i, err := strconv.ParseInt(value, 10, 64)
		return i, err == nil
	}
	return 0, false
}

func nameOf(value interface{}, name func(int64) string) string {
	if i, ok := integer(value); ok {
		return name(i)
	}
	return ""
}

func outcome(recordType int64, members map[string]interface{}) string {
	const signIn = 15 // its ResultStatus speaks of the HTTP exchange
	switch members["Operation"] {
	case "UserLoggedIn":
		return "success"
	case "UserLoginFailed":
		return "failure"
	}
	if recordType == signIn {
		switch number, ok := integer(members["ErrorNumber"]); {
		case !ok:
			return ""
		case number == 0:
			return "success"
		}
		return "failure"
	}
	status, _ := members["ResultStatus"].(string)
	switch strings.ToLower(status) {
	case "true", "success", "succeeded", "successful":
		return "success"
	case "false", "failed", "failure", "fail":
		return "failure"
	}
	return ""
}

func addAddress(flat map[string]interface{}, text string) bool {
	host, port := text, ""
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	}
	host, _, _ = strings.Cut(strings.Trim(host, "[]"), "%")
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if port != "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return false
		}
		flat["o365_client_port"] = int64(number)
	}
	flat["o365_client_ip"] = address.Unmap().String()
	return true
}
