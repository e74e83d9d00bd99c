package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startTime bounds how long a server may take to be there; reading what a large StateDir keeps takes its time.
const startTime = 30 * time.Second

// EmbedOptions says how a NATS server runs inside this process.
type EmbedOptions struct {
	// Listen is the host:port for other machines; port 0 takes a free one. Empty: for this process alone.
	Listen string
	// StateDir is the folder that keeps keys and objects, of this server alone. It is made if need be.
	StateDir string
	// MaxBytes bounds what StateDir keeps (0: three quarters of what the disk has free).
	MaxBytes int64
	// Auth is what clients must present, a user with password or a token.
	Auth Credentials
	// TLS encrypts the connections of clients and, in a cluster, those between servers.
	TLS TLS
	// Open allows Listen beyond this machine without Auth and without certificates of clients.
	Open    bool
	Cluster EmbedCluster
	Logger  *slog.Logger // nil: quiet
}

// EmbedCluster joins embedded servers. Keys and objects are kept on up to three; of three one may be lost.
type EmbedCluster struct {
	Name   string   // of the cluster; empty: a server by itself
	Server string   // name of this server, unique in the cluster and the same at each start
	Listen string   // host:port for the other servers
	Routes []string // their addresses, such as nats://host:6222
}

// Embedded is a bus with its server in this process.
type Embedded struct {
	*NATS
	server *server.Server
	log    *serverLog
	stop   func()
}

// Embed starts a NATS server and connects to it.
func Embed(ctx context.Context, o EmbedOptions) (*Embedded, error) {
	opts, err := o.options()
	if err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("start bus: name a folder to keep its state: %w", err)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	e := &Embedded{NATS: newNATS(o.Logger), server: s, stop: sync.OnceFunc(func() { s.Shutdown(); s.WaitForShutdown() })}
	e.log = &serverLog{logger: e.logger, fatal: make(chan string, 1)}
	s.SetLoggerV2(e.log, false, false, false)
	go s.Start() // which returns once it listens, or never
	if err := e.ready(ctx, e.log.fatal); err != nil {
		e.stop()
		return nil, fmt.Errorf("start bus: %w", err)
	}
	if err := e.connectInside(o.Auth); err != nil {
		e.stop()
		return nil, fmt.Errorf("start bus: connect to it: %w", err)
	}
	e.broken = e.full
	return e, nil
}

// full says that the disk is full: the server then leaves writes without an answer, which it tells its log alone.
func (e *Embedded) full() error {
	if last := e.log.noSpace.Load(); last == nil || time.Since(*last) > 2*tryTime {
		return nil
	}
	return fmt.Errorf("the disk is full: make room and start again: %w", ErrFull)
}

// options translates into those of the NATS server.
func (o *EmbedOptions) options() (*server.Options, error) {
	opts := &server.Options{
		ServerName: "weft", DontListen: o.Listen == "", Host: "127.0.0.1", Port: server.RANDOM_PORT,
		NoSigs: true, NoLog: true, JetStream: true, StoreDir: o.StateDir,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: o.MaxBytes, // memory holds the consumers of watches
		SyncInterval: 5 * time.Second,     // to the disk, should the machine lose its power
		MaxPayload:   MaxMessage + 64<<10, // a value of MaxMessage and its headers
		Username:     o.Auth.User, Password: o.Auth.Password, Authorization: o.Auth.Token,
	}
	if o.StateDir == "" {
		return nil, errors.New("name a folder to keep its state")
	}
	if o.Auth.File != "" {
		return nil, errors.New("an embedded server takes a user with password or a token, no credentials file")
	}
	var err error
	if o.Listen != "" {
		if opts.Host, opts.Port, err = hostPort(o.Listen); err != nil {
			return nil, err
		}
	}
	if o.TLS != (TLS{}) {
		if opts.TLSConfig, err = o.TLS.server(); err != nil {
			return nil, err
		}
		opts.TLS, opts.TLSVerify, opts.TLSTimeout = true, o.TLS.CA != "", 2
	}
	if err := o.closed(opts.Host, o.Listen); err != nil {
		return nil, err
	}
	if o.Cluster.Name == "" {
		return opts, nil
	}
	if err := o.cluster(opts); err != nil {
		return nil, err
	}
	return opts, o.closed(opts.Cluster.Host, o.Cluster.Listen)
}

// closed returns an error if any machine may connect to the address.
func (o *EmbedOptions) closed(host, address string) error {
	if o.Open || o.Auth != (Credentials{}) || o.TLS.CA != "" || loopback(host) {
		return nil
	}
	return fmt.Errorf("anybody who reaches %s could command the cluster: set a password, a token, "+
		"or a certificate authority for clients, or allow it explicitly", address)
}

func (o *EmbedOptions) cluster(opts *server.Options) (err error) {
	c := o.Cluster
	if c.Server == "" {
		return fmt.Errorf("name this server of cluster %s, the same at each start", c.Name)
	}
	opts.ServerName, opts.Cluster.Name = c.Server, c.Name
	opts.DontListen = false // without it the server ignores its routes
	opts.Cluster.Host, opts.Cluster.Port, err = hostPort(c.Listen)
	opts.Cluster.Username, opts.Cluster.Password = o.Auth.User, o.Auth.Password
	if o.Auth.Token != "" { // servers know users only
		opts.Cluster.Username, opts.Cluster.Password = "token", o.Auth.Token
	}
	if opts.TLSConfig != nil {
		opts.Cluster.TLSConfig, opts.Cluster.TLSTimeout = opts.TLSConfig.Clone(), 2
	}
	for _, r := range c.Routes {
		u, parseErr := url.Parse(r)
		if parseErr != nil {
			return fmt.Errorf("route %q: use nats://host:port: %w", r, parseErr)
		}
		if opts.Cluster.Username != "" {
			u.User = url.UserPassword(opts.Cluster.Username, opts.Cluster.Password)
		}
		opts.Routes = append(opts.Routes, u)
	}
	return err
}

func hostPort(address string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil {
		return "", 0, fmt.Errorf("address %q: use host:port: %w", address, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ready waits until the server takes connections, or returns what kept it from that.
func (e *Embedded) ready(ctx context.Context, fatal <-chan string) error {
	up := make(chan bool, 1)
	go func() { up <- e.server.ReadyForConnections(startTime) }()
	select {
	case ok := <-up:
		select {
		case why := <-fatal:
			return errors.New(why)
		default:
		}
		if !ok {
			return fmt.Errorf("it is not up after %v", startTime)
		}
		return nil
	case why := <-fatal:
		return errors.New(why)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connectInside connects without the network, and thus without TLS.
func (e *Embedded) connectInside(auth Credentials) error {
	o := DialOptions{Name: "inside", Auth: auth}
	opts, err := o.options()
	if err != nil {
		return err
	}
	return e.connect("", append(opts, nats.InProcessServer(e.server)))
}

// URL is where other machines reach the bus, empty if it listens to none. It names the address asked for, with the
// port that was taken.
func (e *Embedded) URL() string {
	if e.server.Addr() == nil {
		return ""
	}
	return e.server.ClientURL()
}

// Close implements Bus: it disconnects and stops the server, whose keys and objects stay in the folder.
func (e *Embedded) Close() error {
	err := e.NATS.Close()
	e.stop()
	return err
}

// serverLog passes what the server logs on to slog and notes what its other side must know.
type serverLog struct {
	logger  *slog.Logger
	fatal   chan string // the first reason why the server can't start
	noSpace atomic.Pointer[time.Time]
}

func (l *serverLog) log(level slog.Level, format string, args []any) {
	if l.logger.Enabled(context.Background(), level) {
		l.logger.Log(context.Background(), level, "bus server", "says", fmt.Sprintf(format, args...))
	}
}

// Noticef implements server.Logger. A start takes thirty lines of it, none of which says what to do.
func (l *serverLog) Noticef(format string, args ...any) { l.log(slog.LevelDebug, format, args) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, args ...any) { l.log(slog.LevelWarn, format, args) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, args ...any) {
	if strings.Contains(fmt.Sprintf(format, args...), syscall.ENOSPC.Error()) {
		now := time.Now()
		l.noSpace.Store(&now)
	}
	l.log(slog.LevelError, format, args)
}

// Debugf implements server.Logger.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf implements server.Logger. The server goes on after it, useless.
func (l *serverLog) Fatalf(format string, args ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, args...):
	default:
	}
}
