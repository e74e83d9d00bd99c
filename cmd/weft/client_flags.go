package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"weft/guard"
	"weft/oip"
)

// clientFlags are those of commands that call a server.
type clientFlags struct {
	ca, cert, key, keyFile string
}

func (c *clientFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&c.ca, "ca", "", "authorities in PEM that the server's certificate is to be from (default: the system's)")
	f.StringVar(&c.cert, "cert", "", "certificate in PEM to show to the server")
	f.StringVar(&c.key, "key", "", "private key of --cert, in PEM")
	f.StringVar(&c.keyFile, "key-file", "", "file with the API key to present")
}

func (c *clientFlags) validate() error {
	if (c.cert == "") != (c.key == "") {
		return usagef("--cert and --key go together: give both or none (an API key comes from --key-file)")
	}
	return nil
}

// options reads the files.
func (c *clientFlags) options() (opt oip.ClientOptions, err error) {
	opt.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return opt, fmt.Errorf("--ca: %w", err)
		}
		if opt.TLS.RootCAs, err = guard.Pool(pem); err != nil {
			return opt, fmt.Errorf("--ca %s: %w", c.ca, err)
		}
	}
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return opt, fmt.Errorf("--cert %s --key %s: %w", c.cert, c.key, err)
		}
		opt.TLS.Certificates = []tls.Certificate{pair}
	}
	if c.keyFile != "" {
		text, err := os.ReadFile(c.keyFile)
		if err != nil {
			return opt, fmt.Errorf("--key-file: %w", err)
		}
		if opt.Key = strings.TrimSpace(string(text)); opt.Key == "" {
			return opt, fmt.Errorf("--key-file %s is empty: put the key that weft keys add has shown into it", c.keyFile)
		}
	}
	return opt, nil
}
