-- Times are milliseconds since 1970 in UTC. {p} is the table prefix.

CREATE TABLE {p}integrations (
  id                 TEXT    NOT NULL PRIMARY KEY,
  tenant_id          TEXT    NOT NULL,
  provider           TEXT    NOT NULL,
  label              TEXT    NOT NULL DEFAULT '',
  external_id        TEXT,
  external_alias     TEXT,
  exclusive_key      TEXT    UNIQUE,
  status             TEXT    NOT NULL,
  status_reason      TEXT    NOT NULL DEFAULT '',
  access_token       BLOB,
  refresh_token      BLOB,
  key_id             TEXT,
  scopes             TEXT,
  metadata           TEXT,
  provider_data      TEXT,
  token_expires_at   INTEGER,
  refresh_expires_at INTEGER,
  token_gen          INTEGER NOT NULL DEFAULT 0,
  version            INTEGER NOT NULL DEFAULT 0,
  lease_owner        TEXT,
  lease_until        INTEGER NOT NULL DEFAULT 0,
  lease_epoch        INTEGER NOT NULL DEFAULT 0,
  refresh_fails      INTEGER NOT NULL DEFAULT 0,
  refresh_error      TEXT    NOT NULL DEFAULT '',
  refresh_failing_since INTEGER,
  refresh_reported   INTEGER NOT NULL DEFAULT 0,
  next_refresh_at    INTEGER NOT NULL DEFAULT 0,
  last_refresh_at    INTEGER,
  grant_end          INTEGER NOT NULL DEFAULT 0,
  verify_at          INTEGER NOT NULL DEFAULT 0,
  connected_at       INTEGER NOT NULL,
  created_at         INTEGER NOT NULL,
  updated_at         INTEGER NOT NULL,
  UNIQUE (tenant_id, provider, label)
);
CREATE INDEX {p}integrations_due ON {p}integrations (next_refresh_at, id) WHERE status = 'active' AND next_refresh_at > 0;
CREATE INDEX {p}integrations_end ON {p}integrations (refresh_expires_at, id) WHERE status = 'active' AND grant_end = 2;
CREATE INDEX {p}integrations_verify ON {p}integrations (verify_at, id) WHERE status = 'active' AND verify_at > 0;
CREATE INDEX {p}integrations_ext ON {p}integrations (provider, external_id);
CREATE INDEX {p}integrations_alias ON {p}integrations (provider, external_alias);
CREATE INDEX {p}integrations_key ON {p}integrations (key_id, id);

CREATE TABLE {p}oauth_flows (
  state_hash         TEXT    NOT NULL PRIMARY KEY,
  browser_hash       TEXT    NOT NULL,
  tenant_id          TEXT    NOT NULL,
  actor_id           TEXT    NOT NULL,
  session_hash       TEXT    NOT NULL DEFAULT '',
  provider           TEXT    NOT NULL,
  label              TEXT    NOT NULL DEFAULT '',
  redirect_uri       TEXT    NOT NULL,
  return_to          TEXT    NOT NULL DEFAULT '',
  verifier           BLOB,
  scopes             TEXT,
  expect_external_id TEXT    NOT NULL DEFAULT '',
  site               TEXT    NOT NULL DEFAULT '',
  created_at         INTEGER NOT NULL,
  expires_at         INTEGER NOT NULL,
  consumed_at        INTEGER
);
CREATE INDEX {p}oauth_flows_tenant ON {p}oauth_flows (tenant_id, created_at);
CREATE INDEX {p}oauth_flows_end ON {p}oauth_flows (expires_at);

CREATE TABLE {p}webhook_inbox (
  id             TEXT    NOT NULL PRIMARY KEY,
  provider       TEXT    NOT NULL,
  delivery_id    TEXT    NOT NULL,
  body_hash      TEXT,
  tenant_id      TEXT    NOT NULL DEFAULT '',
  integration_id TEXT    NOT NULL DEFAULT '',
  external_id    TEXT    NOT NULL DEFAULT '',
  event_type     TEXT    NOT NULL,
  order_key      TEXT    NOT NULL DEFAULT '',
  body           BLOB,
  key_id         TEXT,
  headers        BLOB,
  status         INTEGER NOT NULL,
  claims         INTEGER NOT NULL DEFAULT 0,
  starts         INTEGER NOT NULL DEFAULT 0,
  lost           INTEGER NOT NULL DEFAULT 0,
  -- when it may be claimed: after its time, the end of its lease, or its turn
  run_at         INTEGER NOT NULL,
  -- since when it is due, where run_at was moved by a claim
  due_at         INTEGER,
  lease_owner    TEXT,
  -- of its order key: 1 waits for one before it, 2 has it and is leased
  turn           INTEGER NOT NULL DEFAULT 0,
  last_error     TEXT    NOT NULL DEFAULT '',
  occurred_at    INTEGER,
  received_at    INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL,
  UNIQUE (provider, delivery_id, integration_id),
  UNIQUE (provider, body_hash, integration_id)
);
-- claims >= 0, starts >= 0 and updated_at > 0 always hold: who asks for what is due of
-- all tenants, for what is due of one and for what is old says one of them each, and
-- finds its own index, however little the planner knows of the table
CREATE INDEX {p}webhook_inbox_due ON {p}webhook_inbox (run_at, id) WHERE status = 0 AND claims >= 0;
CREATE INDEX {p}webhook_inbox_next ON {p}webhook_inbox (tenant_id, run_at, id) WHERE status = 0 AND starts >= 0;
CREATE INDEX {p}webhook_inbox_order ON {p}webhook_inbox (integration_id, order_key, status, received_at, id) WHERE order_key <> '';
CREATE INDEX {p}webhook_inbox_turn ON {p}webhook_inbox (integration_id, order_key, turn, received_at, id) WHERE turn > 0;
CREATE INDEX {p}webhook_inbox_tenant ON {p}webhook_inbox (tenant_id, received_at);
CREATE INDEX {p}webhook_inbox_end ON {p}webhook_inbox (status, updated_at) WHERE updated_at > 0;
CREATE INDEX {p}webhook_inbox_key ON {p}webhook_inbox (key_id, id) WHERE status <> 1;

-- what hosts did in transactions of their own, see Store.Once
CREATE TABLE {p}webhook_once (
  event_id       TEXT    NOT NULL PRIMARY KEY,
  done_at        INTEGER NOT NULL
);

CREATE TABLE {p}checkpoints (
  tenant_id      TEXT    NOT NULL,
  integration_id TEXT    NOT NULL,
  name           TEXT    NOT NULL,
  value          BLOB,
  version        INTEGER NOT NULL DEFAULT 0,
  lease_owner    TEXT,
  lease_until    INTEGER NOT NULL DEFAULT 0,
  lease_epoch    INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, integration_id, name)
);

CREATE TABLE {p}webhook_endpoints (
  id              TEXT    NOT NULL PRIMARY KEY,
  tenant_id       TEXT    NOT NULL,
  integration_id  TEXT    NOT NULL,
  provider        TEXT    NOT NULL,
  path_hash       TEXT    NOT NULL,
  previous_path_hash TEXT,
  secret          BLOB,
  previous_secret BLOB,
  key_id          TEXT,
  previous_until  INTEGER,
  version         INTEGER NOT NULL DEFAULT 0,
  created_at      INTEGER NOT NULL,
  UNIQUE (provider, path_hash)
);
CREATE INDEX {p}webhook_endpoints_was ON {p}webhook_endpoints (provider, previous_path_hash);
CREATE INDEX {p}webhook_endpoints_of ON {p}webhook_endpoints (tenant_id, integration_id);
CREATE INDEX {p}webhook_endpoints_key ON {p}webhook_endpoints (key_id, id);

CREATE TABLE {p}subscriptions (
  tenant_id      TEXT    NOT NULL,
  integration_id TEXT    NOT NULL,
  provider       TEXT    NOT NULL,
  name           TEXT    NOT NULL,
  remote_id      TEXT    NOT NULL DEFAULT '',
  data           BLOB,
  expires_at     INTEGER,
  renew_at       INTEGER,
  version        INTEGER NOT NULL DEFAULT 0,
  lease_owner    TEXT,
  lease_until    INTEGER NOT NULL DEFAULT 0,
  created_at     INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, integration_id, name)
);
CREATE INDEX {p}subscriptions_due ON {p}subscriptions (renew_at);
