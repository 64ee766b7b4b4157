// Package certificate makes client certificates for tests.
package certificate

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// Pair is a key and a certificate of it.
type Pair struct {
	Key *rsa.PrivateKey
	*x509.Certificate
}

// NewKey makes an RSA key.
func NewKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// New makes a certificate of a new key, valid between the two times.
func New(t testing.TB, from, to time.Time) Pair {
	t.Helper()
	return Of(t, NewKey(t), from, to)
}

// Of makes a certificate of that key.
func Of(t testing.TB, key *rsa.PrivateKey, from, to time.Time) Pair {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "collector.contoso.example"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{key, c}
}

// Valid makes a certificate that is in date for a year.
func Valid(t testing.TB) Pair {
	t.Helper()
	return New(t, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
}

// PEM is the certificate and its key, in PKCS#8.
func (p Pair) PEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Join([][]byte{Block("CERTIFICATE", p.Raw), Block("PRIVATE KEY", der)}, nil)
}

// PKCS12 is the certificate and its key, under that password.
func (p Pair) PKCS12(t testing.TB, password string) []byte {
	t.Helper()
	b, err := pkcs12.Modern.Encode(p.Key, p.Certificate, nil, password)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Block is a block of a PEM file.
func Block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
