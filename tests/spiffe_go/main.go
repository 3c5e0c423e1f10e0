// Judges certificates as go-spiffe does, the SPIFFE project's own library: parses them as X.509-SVIDs, and verifies
// them for a server by its name, with Go's own checks of chains and name constraints.
//
// Reads a JSON list of questions from standard input, and prints a list of answers.
package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

type question struct {
	TrustDomain string   `json:"trust_domain"`
	Chain       string   `json:"chain"`
	Key         string   `json:"key"`
	Bundle      string   `json:"bundle"`
	Names       []string `json:"names"`
}

type answer struct {
	ID       string            `json:"id"`       // of the certificate, once it parses
	Parsed   string            `json:"parsed"`   // why it does not parse
	Verified string            `json:"verified"` // why it is not trusted
	Names    map[string]string `json:"names"`    // why it is not for a name
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func certificates(text string) []*x509.Certificate {
	var found []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if one, err := x509.ParseCertificate(block.Bytes); err == nil {
			found = append(found, one)
		}
	}
	return found
}

func judge(asked question) answer {
	judged := answer{Names: map[string]string{}}
	svid, err := x509svid.Parse([]byte(asked.Chain), []byte(asked.Key))
	judged.Parsed = said(err)
	if err == nil {
		judged.ID = svid.ID.String()
	}
	domain, err := spiffeid.TrustDomainFromString(asked.TrustDomain)
	if err != nil {
		judged.Verified = said(err)
		return judged
	}
	bundle, err := x509bundle.Parse(domain, []byte(asked.Bundle))
	if err != nil {
		judged.Verified = said(err)
		return judged
	}
	chain := certificates(asked.Chain)
	_, _, err = x509svid.Verify(chain, bundle)
	judged.Verified = said(err)
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, one := range bundle.X509Authorities() {
		roots.AddCert(one)
	}
	for _, one := range chain[1:] {
		between.AddCert(one)
	}
	for _, name := range asked.Names {
		_, err := chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between})
		judged.Names[name] = said(err)
	}
	return judged
}

func main() {
	var asked []question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	judged := []answer{}
	for _, one := range asked {
		judged = append(judged, judge(one))
	}
	if err := json.NewEncoder(os.Stdout).Encode(judged); err != nil {
		panic(err)
	}
}
