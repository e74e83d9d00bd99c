package guard

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// KeyOf returns the key that a request presents: as Authorization: Bearer KEY,
// as X-API-Key, or as the password of basic authentication, which is what a
// browser asks its user for. basic tells the last one, which browsers add by
// themselves whatever page makes the request.
func KeyOf(h http.Header) (key string, basic bool) {
	if v := h["Authorization"]; len(v) > 0 {
		if key := Bearer(v[0]); key != "" {
			return key, false
		}
		if _, password, ok := (&http.Request{Header: h}).BasicAuth(); ok {
			return password, true
		}
	}
	if v := h["X-Api-Key"]; len(v) > 0 {
		return v[0], false
	}
	return "", false
}

// Bearer returns the key of a header Authorization that has one.
func Bearer(authorization string) string {
	const scheme = "bearer "
	if len(authorization) > len(scheme) && strings.EqualFold(authorization[:len(scheme)], scheme) {
		return authorization[len(scheme):]
	}
	return ""
}

// Local reports whether a request comes from the server's own machine and was
// meant for it. One that a proxy passes on is not, whose address the proxy's is;
// nor is one for a host of another name, as a browser sends it whose page had
// its own name made to lead here (DNS rebinding).
func Local(r *http.Request) bool {
	if Forwarded(func(name string) bool { return len(r.Header[name]) > 0 }) {
		return false
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

var proxyHeaders = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

// Forwarded reports whether one of the headers is there by which proxies tell
// for whom they ask.
func Forwarded(has func(canonical string) bool) bool {
	return slices.ContainsFunc(proxyHeaders, has)
}
