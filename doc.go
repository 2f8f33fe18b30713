// Package integrations connects the customers of a SaaS backend to Slack, GitHub,
// Jira, Salesforce, HubSpot, Google Sheets and other OAuth 2 services. It is a
// library: the host imports it, mounts its handlers on the router it has, and owns
// the process, the database and the session.
//
// # Connect
//
// A [Manager] is made of a store, a cipher, the public URL, a function that says
// who is signed in, and providers:
//
//	m, err := integrations.New(ctx, integrations.Config{
//		Store:     sqlstore.New(db, sqlstore.SQLite, nil),
//		Cipher:    keyring,
//		BaseURL:   "https://app.example.com/integrations",
//		Identify:  identify,
//		Providers: []providers.Provider{slackapp.New(slackConfig), githubapp.New(githubConfig)},
//	})
//	mux.Handle("/integrations/", m.Handler())
//
// A link to /integrations/slack/connect then takes a user of a tenant through
// the provider's consent and back. The flow works once, in one browser, for the
// user who started it, and ends at its return_to with ?integration=slack and
// &result=connected or a code that says why not.
//
// # Call
//
// A tenant's [providers.Connection] is a live handle. It refreshes the token when
// that is due, once however many goroutines and replicas ask, and sends it to the
// provider's hosts only:
//
//	conn, err := m.Connection(ctx, "tenant-1", slackapp.Key)
//	if errors.Is(err, integrations.ErrNotConnected) { … }
//	_, err = slackapp.Notify(ctx, conn, slackapp.Message{Text: "Deployed"})
//	api := slackapp.Client(conn) // slack-go, ready to use
//	hc := conn.HTTPClient()      // for any SDK or a plain call
//
// # Scopes and accounts
//
// A reconnect keeps the integration: its id, label and metadata. [Integration] shows
// the scopes that are wanted and were not granted; [providers.Connection.RequireScopes]
// asks before a call; a call without them is a [MissingScopeError]; and
// [Manager.UpgradeURL] is the link of a button that asks for more.
//
// A label makes room for further accounts of a provider: a connect with &label=eu,
// which Config.AllowLabel has to allow, and [WithLabel].
//
// # Webhooks and changes
//
// Webhooks are verified over the raw bytes, routed to the tenant by the account
// that the provider names or by an endpoint of the integration's own, and stored
// before they are answered. [Manager.Run] hands them to handlers until one
// succeeds:
//
//	m.OnWebhook(githubapp.Push(func(ctx context.Context, ev webhook.Event, p *github.PushEvent) error { … }))
//	m.OnChange(func(ctx context.Context, c integrations.Change) error { … })
//	group.Go(func() error { return m.Run(ctx) })
//
// Run also keeps the provider's side: it makes, renews and repairs the subscriptions
// that an adapter's Config declares, and recovers webhooks that did not arrive
// (docs/webhooks.md).
//
// Handlers see an event at least once. Event.ID is the idempotency key. Tenants take
// turns, so that one's flood does not hold up another; Config.OrderKey asks for an
// order, Config.Enqueuer takes events into a queue of the host's instead. What failed
// too often is listed by [Manager.Events] and made due again by [Manager.Replay]. A
// [Change] tells of an integration's own life: connected, needs_reconnect,
// grant_ending, revoked and so on.
//
// # Keys
//
// What is stored is sealed with the primary key of the cipher. To replace a key add
// the new one to the keyring of every replica, make it the primary, and call
// [Rewrap], which moves all rows while the replicas work. [Health] says what is
// left, and which rows are under a key that is missing.
//
// # Errors
//
// Branch on [ErrNotConnected], [ErrReconnectRequired], [ErrSuspended],
// [ErrDisconnected], [ErrRateLimited], [ErrTransient] and [ErrAppMisconfigured]
// with errors.Is. No error holds a token, a code, a secret or a body.
//
// # Leaving and moving in
//
// [Manager.Disconnect] ends one integration, [Manager.Purge] everything there is of a
// tenant. [Manager.Import] takes over tokens that another application obtained.
//
// # Replicas
//
// Any number of processes may share a store and all run everything. Leases and
// compare-and-swap in the store keep them apart; nothing else is needed. A
// disconnect on one replica is seen by all within Config.CacheFor.
//
// # Tests
//
// Package integrationstest has fakes of the providers and a ready Config on a
// store in memory. [Manager.Drain] does everything that is due once, so a test
// needs no background work.
package integrations
