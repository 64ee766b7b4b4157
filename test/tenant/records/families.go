package records

// families lists every family with the content type it is delivered under and its share within that content type.
// teams-settings records measure some 90 kB, so they are rare.
var families = []struct {
	name        string
	contentType string
	weight      int
}{
	{"entra-directory", AzureActiveDirectory, 250},
	{"entra-application", AzureActiveDirectory, 100},
	{"entra-signin", AzureActiveDirectory, 550},
	{"entra-account-logon", AzureActiveDirectory, 100},

	{"exchange-admin", Exchange, 300},
	{"mailbox-item", Exchange, 250},
	{"mailbox-folder-permissions", Exchange, 50},
	{"mailbox-item-group", Exchange, 100},
	{"mail-items-accessed", Exchange, 250},
	{"message-encryption-portal", Exchange, 50},

	{"sharepoint-file", SharePoint, 600},
	{"sharepoint-search", SharePoint, 100},
	{"sharepoint-sharing", SharePoint, 150},
	{"sharepoint-list", SharePoint, 50},
	{"sharepoint-list-item", SharePoint, 50},
	{"sharepoint-field", SharePoint, 20},
	{"sharepoint-content-type", SharePoint, 20},
	{"project-timesheet", SharePoint, 10},

	{"teams-member", General, 600},
	{"teams-message", General, 1500},
	{"teams-session", General, 600},
	{"teams-settings", General, 2},
	{"compliance-cmdlet", General, 600},
	{"insights-api", General, 300},
	{"security-alert", General, 600},
	{"threat-mail", General, 600},
	{"threat-url", General, 300},
	{"threat-file", General, 200},
	{"automated-investigation", General, 50},
	{"power-bi", General, 600},
	{"power-automate", General, 200},
	{"viva-engage", General, 200},
	{"ediscovery", General, 200},
	{"mip-label", General, 200},
	{"labeled-file", General, 200},
	{"aip-discover", General, 200},
	{"aip-label", General, 200},
	{"aip-protection", General, 100},
	{"aip-heartbeat", General, 100},
	{"copilot-interaction", General, 600},
	{"quarantine", General, 100},
	{"dynamics", General, 400},
	{"dlp-endpoint", General, 1200},
	{"unheard-of", General, 50},

	{"dlp-exchange", DLP, 200},
	{"dlp-sharepoint", DLP, 200},
	{"dlp-exchange-classification", DLP, 50},
	{"dlp-sharepoint-classification", DLP, 50},
}
