package tenant_test

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"in_office365/test/tenant"
)

func Example() {
	t := tenant.New(tenant.Config{})
	t.AddBlob(tenant.Exchange, time.Now().Add(-time.Hour), tenant.Generated{Seed: 1, Records: 100})
	t.Inject(tenant.Fault{Operation: tenant.ListSubscriptions, Times: 1}, tenant.Throttle(http.StatusForbidden, 0))

	client := http.Client{Transport: t.RoundTripper()}
	response, err := client.Get("https://manage.office.com/api/v1.0/" + tenant.DefaultID + "/activity/feed/subscriptions/list")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	fmt.Println(response.Status, t.Account().WithoutToken)
	// Output: 403 Forbidden 1
}

// A hundred megabytes of blob, generated as they are sent.
func ExampleSized() {
	t := tenant.New(tenant.Config{})
	t.AddBlob(tenant.General, time.Now(), tenant.Sized(tenant.General, 1, 100<<20))
	fmt.Println(t.Account().Offered[tenant.General].Blobs)
	// Output: 1
}
