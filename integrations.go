package integrations

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// Config is everything a [Manager] needs. Store, Cipher, BaseURL, Identify and
// Providers are required.
type Config struct {
	// Store keeps the rows: memstore.New() for tests, sqlstore.New otherwise.
	Store store.Store
	// Cipher seals what is stored: crypto.NewKeyring. There is no mode without.
	Cipher crypto.Cipher
	// BaseURL is the public https URL the handlers are mounted at, with its path:
	// "https://app.example.com/integrations". Redirect URLs are made of it, never
	// of a request's Host header.
	BaseURL string
	// Identify tells who makes a request to the connect and callback handlers, by
	// the host's own session. It returns [ErrUnauthenticated] or [ErrForbidden]
	// to refuse.
	Identify func(*http.Request) (Identity, error)
	// Providers are what tenants can connect, each under a key of its own.
	Providers []providers.Provider

	// Limiter keeps rate limits. Defaults to ratelimit.NewLocal(nil); package
	// redislimit has one that replicas share. See docs/limits.md.
	Limiter ratelimit.Limiter
	// Retries is how often a call to a provider is sent again where that does no harm:
	// see providers.ConnectionConfig. Defaults to providers.DefaultRetries; negative
	// means never.
	Retries int
	// ResponseCache keeps answers of providers, so that a GET of a connection is sent
	// as "if it changed": an answer of 304 costs no quota at GitHub and no transfer
	// anywhere. What it keeps are tenants' data, so there is none unless the host gives
	// one, for example providers.NewMemoryCache. See docs/limits.md.
	ResponseCache providers.ResponseCache
	// Transport sends all calls to providers. Defaults to providers.NewTransport,
	// which dials public addresses on port 443 only. A Transport of the host's
	// own must see to that itself.
	Transport http.RoundTripper
	// Logger hears what nobody returns to: failed background work, and events where
	// there is no Observer. Secrets are not in it. Nil discards.
	Logger *slog.Logger
	// Observer is told of calls, refreshes, deliveries, flows and of what was removed
	// unhandled. Defaults to [LogObserver] of the Logger; nil without one.
	Observer Observer

	// CacheFor is how long a replica may hand out what it knows before it looks
	// at the store again: a disconnect elsewhere is seen within it. Defaults to
	// 10 s.
	CacheFor time.Duration
	// HTTPTimeout bounds one call to a token endpoint. Defaults to 10 s.
	HTTPTimeout time.Duration
	// CommitBudget is how long storing a refreshed token may take before the
	// lease is in danger, and how long saving a checkpoint, a subscription or an
	// endpoint may. Defaults to 5 s. The lease lasts 2 × (HTTPTimeout +
	// CommitBudget).
	CommitBudget time.Duration

	// GiveUpAfter is how long renewing a token may fail or be held back, while the
	// token has ended and calls fail, before that is told as a [Change] with the
	// reason "given_up". Defaults to 72 h.
	GiveUpAfter time.Duration

	// VerifyEvery is how often Run asks a provider whether a grant still works that
	// no renewal asks for, because its tokens do not end: a
	// [providers.Verifier]. The time of each differs by up to a tenth. Defaults to
	// 24 h, is at least 1 h; negative is never.
	VerifyEvery time.Duration
	// Retention is how long the store keeps webhooks and changes.
	Retention Retention

	// Journal, when not nil, closes the gap between a provider's replacing a
	// single-use refresh token and its being stored: token.NewDirJournal. A process
	// that dies in it keeps the grant if it comes back, with its journal, before
	// another replica repeats the refresh: within the lease. New stores what is in
	// the journal and Run does so again every 15 s; what goes wrong is logged. Keep
	// a key in the Cipher while records sealed with it are there.
	Journal token.Journal

	// Handling says how Run and Drain hand stored webhooks and changes to their
	// handlers: how many at a time, how many of one tenant, how often they are tried.
	// Every field has a default.
	Handling webhook.Handling
	// OrderKey, when not nil, asks for webhooks to be handled in order: those of one
	// integration for which it returns the same key run one at a time, in order of
	// arrival. "" leaves a webhook to its adapter, which asks for an order where it
	// needs one itself. It sees n.Type and the verified n.Body before the webhook is
	// stored, so it must be quick and must not change or keep the body. Keys are at
	// most 191 bytes of UTF-8 without control characters; a longer one refuses the
	// webhook with a 400.
	OrderKey func(provider string, n webhook.Notice) string
	// Enqueuer, when not nil, takes the webhooks that no handler is registered for
	// into a queue of the host's own: OnWebhook is for exceptions then, and not for
	// type "*". Changes go to OnChange as ever.
	Enqueuer webhook.Enqueuer

	// ReturnTo is where a flow ends that named no return path: a local path.
	// Defaults to "/".
	ReturnTo string
	// AllowedReturnOrigins are the origins besides local paths that return_to may
	// lead to, for example "https://app.example.com".
	AllowedReturnOrigins []string
	// AllowLabel decides whether an identity may connect a provider under a
	// label other than "". Nil refuses all.
	AllowLabel func(ctx context.Context, who Identity, key, label string) bool
	// AllowAccountChange lets a reconnect land on another external account. The
	// integration keeps its id, label and metadata; its webhook endpoints,
	// subscriptions and checkpoints were of the account before and go with it, and
	// the grant of that is revoked as in [Manager.Disconnect]. The [Change] names
	// both accounts. By default such a reconnect ends with "account_mismatch" and
	// changes nothing.
	AllowAccountChange bool
	// AllowInsecureLocalhost accepts an http://localhost BaseURL, for
	// development. Cookies are not Secure then.
	AllowInsecureLocalhost bool
}

// Identity is who makes a request, as the host's own session says.
type Identity struct {
	// TenantID is the customer, at most 191 bytes. Required.
	TenantID string
	// UserID is the person, at most 191 bytes. Required: a flow must be finished
	// by the one who started it.
	UserID string
	// SessionID, when not "", binds a flow to one session of the person.
	SessionID string
}

// Observer is told what happens. Events are a [providers.Call], a [token.Event],
// a [token.FaultEvent], a [webhook.Observation], a [RecoveryEvent], a [FlowEvent]
// or a [RetentionEvent]. Observe must not block and must be safe for concurrent use.
// Events hold no secrets.
type Observer interface {
	Observe(ctx context.Context, event any)
}

// Manager is the library in a host: one per process is usual. It is safe for
// concurrent use. It starts no goroutine that outlives the work it was asked
// for; background work runs in [Manager.Run].
type Manager struct {
	cfg       Config
	base      *url.URL
	origins   map[string]bool
	log       *slog.Logger
	inbox     store.Inbox // nil when the store has none
	committer *webhook.Committer
	client    *token.Client
	vault     *token.Vault
	providers map[string]*provider
	keys      []string // of providers, in the order of Config

	mu       sync.Mutex
	handlers []webhook.Handler
	onChange bool
	frozen   bool // nothing may be registered any more
	worker   *webhook.Worker
	stop     context.CancelFunc // of Run
	running  chan struct{}      // closed when Run is over
	down     bool
	// replayFault is what was logged about the journal last.
	replayFault string
}

// provider is a registered Provider with its abilities looked up once.
type provider struct {
	providers.Provider
	info        providers.Info
	hosts       providers.Hosts
	http        *http.Client // to the provider's hosts, without a token
	renewer     providers.Renewer
	verifier    providers.Verifier
	revoker     providers.Revoker
	lifecycle   providers.LifecycleReader
	classifier  providers.AnswerClassifier
	budgets     providers.BudgetKeeper
	etags       providers.ETagPredictor
	lander      providers.Lander
	sites       providers.SiteReader
	renewals    providers.SubscriptionRenewer
	ender       providers.SubscriptionEnder
	matcher     providers.AccountMatcher
	sharer      providers.GrantSharer
	permissions providers.PermissionsPage
	// keeper, missed and redeliverer are the provider's side of webhooks, declared
	// is a hash of what the keeper declares.
	keeper      providers.SubscriptionKeeper
	missed      providers.MissedDeliveries
	redeliverer providers.Redeliverer
	declared    string
	receiver    *webhook.Receiver // nil without webhooks
	redirect    string
	webhookURL  string // once for all connections

	connections *providers.Connections
}

// New checks the configuration and the store and returns a Manager. All faults
// of the configuration are reported together. A store whose schema is not up to
// date is an error wrapping [ErrSchema] that names the call to make.
func New(ctx context.Context, cfg Config) (*Manager, error) {
	cfg.setDefaults()
	m := &Manager{cfg: cfg, log: cfg.Logger, origins: map[string]bool{}, providers: map[string]*provider{}}
	if err := m.configure(); err != nil {
		return nil, err
	}
	if err := cfg.Store.Check(ctx); err != nil {
		return nil, fmt.Errorf("integrations: store: %w", err)
	}
	m.replayAtStart(ctx)
	return m, nil
}

func (cfg *Config) setDefaults() {
	if cfg.Limiter == nil {
		cfg.Limiter = ratelimit.NewLocal(nil)
	}
	if cfg.Observer == nil && cfg.Logger != nil {
		cfg.Observer = LogObserver(cfg.Logger)
	}
	cfg.Logger = guardedLog(cfg.Logger)
	if cfg.CacheFor == 0 {
		cfg.CacheFor = 10 * time.Second
	}
	if cfg.HTTPTimeout == 0 {
		cfg.HTTPTimeout = 10 * time.Second
	}
	if cfg.CommitBudget == 0 {
		cfg.CommitBudget = 5 * time.Second
	}
	if cfg.VerifyEvery == 0 {
		cfg.VerifyEvery = verifyEvery
	}
	cfg.Retention.setDefaults()
	if cfg.ReturnTo == "" {
		cfg.ReturnTo = "/"
	}
}

func (m *Manager) configure() error {
	cfg := &m.cfg
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("integrations: "+format, args...))
	}

	if cfg.Store == nil {
		fault("Config.Store is nil")
	}
	if cfg.Cipher == nil {
		fault("Config.Cipher is nil: tokens are never stored in the clear")
	}
	if cfg.Identify == nil {
		fault("Config.Identify is nil")
	}
	if cfg.CacheFor < 0 || cfg.HTTPTimeout < 0 || cfg.CommitBudget < 0 || cfg.GiveUpAfter < 0 {
		fault("CacheFor, HTTPTimeout, CommitBudget and GiveUpAfter must not be negative")
	}
	if cfg.VerifyEvery > 0 && cfg.VerifyEvery < verifyLeast {
		fault("VerifyEvery is under an hour")
	}
	faults = append(faults, cfg.Retention.validate())
	err := cfg.Handling.Validate()
	if err != nil {
		fault("Handling: %w", err)
	}
	if m.base, err = parseBaseURL(cfg.BaseURL, cfg.AllowInsecureLocalhost); err != nil {
		faults = append(faults, err)
	}
	for _, o := range cfg.AllowedReturnOrigins {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != o || (u.Scheme != "https" && !cfg.AllowInsecureLocalhost) {
			fault("AllowedReturnOrigins: %q is not an https origin", o)
			continue
		}
		m.origins[o] = true
	}
	if !m.safeReturnTo(cfg.ReturnTo) {
		fault("ReturnTo is neither a local path nor at one of AllowedReturnOrigins")
	}
	if len(cfg.Providers) == 0 {
		fault("Config.Providers is empty")
	}
	if errors.Join(faults...) != nil {
		for _, p := range cfg.Providers {
			if p != nil {
				faults = append(faults, p.Validate())
			}
		}
		return errors.Join(faults...)
	}
	if m.inbox, _ = cfg.Store.(store.Inbox); m.inbox != nil {
		if m.committer, err = webhook.NewCommitter(m.inbox); err != nil {
			return err
		}
	}
	if err := m.makeVault(); err != nil {
		return err
	}
	budget := webhook.NewBudget(0)
	for _, p := range cfg.Providers {
		if p == nil {
			fault("Config.Providers holds a nil Provider")
			continue
		}
		if err := m.register(p, budget); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func (m *Manager) makeVault() error {
	transport := m.cfg.Transport
	if transport == nil {
		m.cfg.Transport = providers.NewTransport(providers.TransportConfig{})
		// A token call must not be sent on a connection that may have gone stale:
		// whether a single-use token was spent would be unknown.
		t := providers.NewTransport(providers.TransportConfig{})
		t.DisableKeepAlives = true
		transport = t
	}
	m.client = token.NewClient(token.ClientConfig{Transport: transport, Timeout: m.cfg.HTTPTimeout})
	var err error
	m.vault, err = token.NewVault(token.VaultConfig{
		Store: m.cfg.Store, Cipher: m.cfg.Cipher, Client: m.client,
		Renewer:  m.renewer,
		CacheFor: m.cfg.CacheFor, HTTPTimeout: m.cfg.HTTPTimeout, CommitBudget: m.cfg.CommitBudget,
		Journal:      m.cfg.Journal,
		GiveUpAfter:  m.cfg.GiveUpAfter,
		Change:       m.turned,
		Attach:       m.attach,
		Orphan:       m.revokeOrphan,
		Observe:      func(e token.Event) { m.observe(context.Background(), e) },
		ObserveFault: func(e token.FaultEvent) { m.observe(context.Background(), e) },
		Logger:       m.log,
	})
	if err != nil {
		return fmt.Errorf("integrations: %w", err)
	}
	return nil
}

func (m *Manager) renewer(key string) token.Renewer {
	if p := m.providers[key]; p != nil && p.renewer != nil {
		return p.renewer
	}
	return nil
}

func (m *Manager) register(p providers.Provider, budget *webhook.Budget) error {
	info := p.Info()
	var faults []error
	if !providers.ValidKey(info.Key) {
		faults = append(faults, fmt.Errorf("integrations: provider key %q must match [a-z][a-z0-9_]{0,63}", info.Key))
	}
	if info.Key == store.ChangeProvider || m.providers[info.Key] != nil {
		faults = append(faults, fmt.Errorf("integrations: provider key %q is used twice; set Key in one of the configurations", info.Key))
	}
	if err := p.Validate(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	hosts, err := providers.NewHosts(info.Hosts...)
	if err != nil {
		return err
	}
	r := &provider{Provider: p, info: info, hosts: hosts, redirect: m.base.String() + "/" + info.Key + "/callback", webhookURL: m.base.String() + "/" + info.Key + "/webhook"}
	if info.RedirectURL != "" {
		r.redirect = info.RedirectURL
	}
	r.http = providers.NewClient(hosts, m.cfg.Transport, m.cfg.HTTPTimeout)
	r.renewer, _ = p.(providers.Renewer)
	r.verifier, _ = p.(providers.Verifier)
	r.revoker, _ = p.(providers.Revoker)
	r.lifecycle, _ = p.(providers.LifecycleReader)
	r.classifier, _ = p.(providers.AnswerClassifier)
	r.budgets, _ = p.(providers.BudgetKeeper)
	r.etags, _ = p.(providers.ETagPredictor)
	r.lander, _ = p.(providers.Lander)
	r.sites, _ = p.(providers.SiteReader)
	r.renewals, _ = p.(providers.SubscriptionRenewer)
	r.ender, _ = p.(providers.SubscriptionEnder)
	r.findKeeper()
	r.matcher, _ = p.(providers.AccountMatcher)
	r.sharer, _ = p.(providers.GrantSharer)
	r.permissions, _ = p.(providers.PermissionsPage)
	if err := m.addReceiver(r, budget); err != nil {
		return err
	}
	if r.connections, err = m.connections(r); err != nil {
		return err
	}
	m.providers[info.Key] = r
	m.keys = append(m.keys, info.Key)
	return nil
}

func (m *Manager) observe(ctx context.Context, event any) {
	if m.cfg.Observer == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			m.logPanic(ctx, "observer", v)
		}
	}()
	m.cfg.Observer.Observe(ctx, event)
}

// parseBaseURL accepts a plain https URL, or http://localhost where allowed.
func parseBaseURL(raw string, insecureLocalhost bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("integrations: BaseURL must be a plain absolute URL such as https://app.example.com/integrations")
	case u.Scheme == "http" && u.Hostname() == "localhost":
		if !insecureLocalhost {
			return nil, errors.New("integrations: BaseURL http://localhost needs AllowInsecureLocalhost")
		}
	case u.Scheme != "https":
		return nil, errors.New("integrations: BaseURL must be https")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}
