package records

// usersPerName is how many users share a first name: alex0 .. alex49.
const usersPerName = 50

var users = [...]string{
	"alex", "blake", "casey", "devon", "ellis", "frankie", "gray", "harper", "indigo", "jules",
	"kit", "lane", "morgan", "noel", "oakley", "parker", "quinn", "reese", "sage", "taylor",
}

var vocabulary = [...]string{
	"annual", "audit", "backlog", "budget", "calendar", "client", "contract", "delivery", "design", "draft",
	"estimate", "field", "forecast", "handbook", "invoice", "launch", "ledger", "margin", "meeting", "minutes",
	"notes", "offer", "outline", "payroll", "plan", "policy", "project", "quarter", "report", "review",
	"roadmap", "schedule", "summary", "supplier", "survey", "target", "template", "travel", "update", "weekly",
}

// titles are mostly plain, now and then hard for a reader: escapes, other scripts, surrogate pairs written as
// escapes, a right-to-left text, line separators, control characters.
var titles = []string{
	"${words:2}", "${words:3}", "${words:4}", "${words:5}", "${words:3} ${int:1:99}", "${words:2} (final)", "${words:2} v${int:1:9}",
	"RE: ${words:4}", "FW: ${words:5}", "${words:2}_${words:1}_${int:2019:2026}",
	"Übersicht ${words:2} für Jürgen", "${words:1} – ${words:2} “draft”", "予算 ${words:1} 計画", "דוח ${words:1} שנתי", "Смета ${words:1}",
	"😀 ${words:2} 🎉", "${u:d83d}${u:de80} ${words:2}", "caf${u:00e9} ${words:1}", "${words:1} \"${words:1}\"", "C:\\${words:1}\\${words:1}",
	"${words:1}\t${words:1}", "${words:1}\u2028${words:1}", "${words:1} <b>&amp;</b> ${words:1}", "${words:1}/${words:1}", "${u:0007}${words:1}",
}

// oddAddresses are the forms seen in ClientIP and its kin; the plain ones more often.
var oddAddresses = []string{
	"${ip}", "${ip}", "${ip}", "${ip}", "${ip}", "${ip}", "${ip6}", "${ip6}", "${ip}:${int:1024:65535}", "[${ip6}]:${int:1024:65535}",
	"[${ip}]:${int:1024:65535}", "[${ip6}]", "::ffff:${ip}", "ffff:${ip}", "", "<null>", "${ip} ", "XX.XX.2.${int:1:254}",
	"localhost", "localhost:8080", "gateway.contoso.example", "NOTANIPV4 (192.9000.0.1)", "-",
}
