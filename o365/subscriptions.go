package o365

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	jsoniter "github.com/json-iterator/go"
)

// Subscriptions lists the tenant's subscriptions of this application.
func (c *Client) Subscriptions(ctx context.Context) ([]Subscription, error) {
	const op = "list subscriptions"
	res, err := c.do(ctx, op, http.MethodGet, c.endpoint("subscriptions/list", nil))
	if err != nil {
		return nil, err
	}
	var subs []Subscription
	err = c.decodeArray(op, res, func(element *jsoniter.Iterator) error {
		var doc struct {
			ContentType string `json:"contentType"`
			Status      string `json:"status"`
		}
		element.ReadVal(&doc)
		ct, err := ParseContentType(doc.ContentType)
		if err != nil {
			ct = ContentType(doc.ContentType) // one that is newer than this code
		}
		subs = append(subs, Subscription{ContentType: ct, Status: doc.Status})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return subs, nil
}

// StartSubscription starts the subscription of a content type, or enables it
// again. That it is enabled already is no error. The API takes one start in 15
// minutes; sooner is an Error with Throttle and the wait as RetryAfter, which
// concerns further starts only.
func (c *Client) StartSubscription(ctx context.Context, ct ContentType) error {
	u := c.endpoint("subscriptions/start", url.Values{"contentType": {string(ct)}})
	res, err := c.do(ctx, opStart, http.MethodPost, u)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == codeAlreadyEnabled {
		return nil
	}
	if err != nil {
		return err
	}
	// The answer repeats the request; reading it keeps the connection.
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxErrorBody))
	return res.Body.Close()
}
