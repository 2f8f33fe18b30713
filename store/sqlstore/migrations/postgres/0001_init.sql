-- Times are milliseconds since 1970 in UTC. {p} is the table prefix. Text is
-- compared by its bytes, whatever the locale of the database.

CREATE TABLE {p}integrations (
  id                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  tenant_id          TEXT COLLATE "C" NOT NULL,
  provider           TEXT COLLATE "C" NOT NULL,
  label              TEXT COLLATE "C" NOT NULL DEFAULT '',
  external_id        TEXT COLLATE "C",
  external_alias     TEXT COLLATE "C",
  exclusive_key      TEXT COLLATE "C",
  status             TEXT COLLATE "C" NOT NULL,
  status_reason      TEXT COLLATE "C" NOT NULL DEFAULT '',
  access_token       BYTEA,
  refresh_token      BYTEA,
  key_id             TEXT COLLATE "C",
  scopes             TEXT COLLATE "C",
  metadata           TEXT COLLATE "C",
  provider_data      TEXT COLLATE "C",
  token_expires_at   BIGINT,
  refresh_expires_at BIGINT,
  token_gen          BIGINT NOT NULL DEFAULT 0,
  version            BIGINT NOT NULL DEFAULT 0,
  lease_owner        TEXT COLLATE "C",
  lease_until        BIGINT NOT NULL DEFAULT 0,
  lease_epoch        BIGINT NOT NULL DEFAULT 0,
  refresh_fails      INTEGER NOT NULL DEFAULT 0,
  refresh_error      TEXT COLLATE "C" NOT NULL DEFAULT '',
  refresh_failing_since BIGINT,
  refresh_reported   INTEGER NOT NULL DEFAULT 0,
  next_refresh_at    BIGINT NOT NULL DEFAULT 0,
  last_refresh_at    BIGINT,
  grant_end          SMALLINT NOT NULL DEFAULT 0,
  verify_at          BIGINT NOT NULL DEFAULT 0,
  connected_at       BIGINT NOT NULL,
  created_at         BIGINT NOT NULL,
  updated_at         BIGINT NOT NULL,
  UNIQUE (tenant_id, provider, label)
);
CREATE INDEX {p}integrations_due ON {p}integrations (next_refresh_at, id) WHERE status = 'active' AND next_refresh_at > 0;
CREATE INDEX {p}integrations_end ON {p}integrations (refresh_expires_at, id) WHERE status = 'active' AND grant_end = 2;
CREATE INDEX {p}integrations_verify ON {p}integrations (verify_at, id) WHERE status = 'active' AND verify_at > 0;
CREATE INDEX {p}integrations_ext ON {p}integrations (provider, external_id);
-- most rows have neither: a change of an indexed column is an entry in every index
-- that has the row
CREATE INDEX {p}integrations_alias ON {p}integrations (provider, external_alias) WHERE external_alias IS NOT NULL;
CREATE UNIQUE INDEX {p}integrations_exclusive ON {p}integrations (exclusive_key) WHERE exclusive_key IS NOT NULL;
CREATE INDEX {p}integrations_key ON {p}integrations (key_id, id);

CREATE TABLE {p}oauth_flows (
  state_hash         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  browser_hash       TEXT COLLATE "C" NOT NULL,
  tenant_id          TEXT COLLATE "C" NOT NULL,
  actor_id           TEXT COLLATE "C" NOT NULL,
  session_hash       TEXT COLLATE "C" NOT NULL DEFAULT '',
  provider           TEXT COLLATE "C" NOT NULL,
  label              TEXT COLLATE "C" NOT NULL DEFAULT '',
  redirect_uri       TEXT COLLATE "C" NOT NULL,
  return_to          TEXT COLLATE "C" NOT NULL DEFAULT '',
  verifier           BYTEA,
  scopes             TEXT COLLATE "C",
  expect_external_id TEXT COLLATE "C" NOT NULL DEFAULT '',
  site               TEXT COLLATE "C" NOT NULL DEFAULT '',
  created_at         BIGINT NOT NULL,
  expires_at         BIGINT NOT NULL,
  consumed_at        BIGINT
);
CREATE INDEX {p}oauth_flows_tenant ON {p}oauth_flows (tenant_id, created_at);
CREATE INDEX {p}oauth_flows_end ON {p}oauth_flows (expires_at);

CREATE TABLE {p}webhook_inbox (
  id                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  provider           TEXT COLLATE "C" NOT NULL,
  delivery_id        TEXT COLLATE "C" NOT NULL,
  body_hash          TEXT COLLATE "C",
  tenant_id          TEXT COLLATE "C" NOT NULL DEFAULT '',
  integration_id     TEXT COLLATE "C" NOT NULL DEFAULT '',
  external_id        TEXT COLLATE "C" NOT NULL DEFAULT '',
  event_type         TEXT COLLATE "C" NOT NULL,
  order_key          TEXT COLLATE "C" NOT NULL DEFAULT '',
  body               BYTEA,
  key_id             TEXT COLLATE "C",
  headers            BYTEA,
  status             SMALLINT NOT NULL,
  claims             INTEGER NOT NULL DEFAULT 0,
  starts             INTEGER NOT NULL DEFAULT 0,
  lost               INTEGER NOT NULL DEFAULT 0,
  -- when it may be claimed: after its time, the end of its lease, or its turn
  run_at             BIGINT NOT NULL,
  -- since when it is due, where run_at was moved by a claim
  due_at             BIGINT,
  lease_owner        TEXT COLLATE "C",
  -- of its order key: 1 waits for one before it, 2 has it and is leased
  turn               SMALLINT NOT NULL DEFAULT 0,
  last_error         TEXT COLLATE "C" NOT NULL DEFAULT '',
  occurred_at        BIGINT,
  received_at        BIGINT NOT NULL,
  updated_at         BIGINT NOT NULL,
  UNIQUE (provider, delivery_id, integration_id),
  UNIQUE (provider, body_hash, integration_id)
);
-- Sealed bytes do not get smaller.
ALTER TABLE {p}webhook_inbox ALTER COLUMN body SET STORAGE EXTERNAL;
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
  event_id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  done_at            BIGINT NOT NULL
);

CREATE TABLE {p}checkpoints (
  tenant_id          TEXT COLLATE "C" NOT NULL,
  integration_id     TEXT COLLATE "C" NOT NULL,
  name               TEXT COLLATE "C" NOT NULL,
  value              BYTEA,
  version            BIGINT NOT NULL DEFAULT 0,
  lease_owner        TEXT COLLATE "C",
  lease_until        BIGINT NOT NULL DEFAULT 0,
  lease_epoch        BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, integration_id, name)
);

CREATE TABLE {p}webhook_endpoints (
  id                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  tenant_id          TEXT COLLATE "C" NOT NULL,
  integration_id     TEXT COLLATE "C" NOT NULL,
  provider           TEXT COLLATE "C" NOT NULL,
  path_hash          TEXT COLLATE "C" NOT NULL,
  previous_path_hash TEXT COLLATE "C",
  secret             BYTEA,
  previous_secret    BYTEA,
  key_id             TEXT COLLATE "C",
  previous_until     BIGINT,
  version            BIGINT NOT NULL DEFAULT 0,
  created_at         BIGINT NOT NULL,
  UNIQUE (provider, path_hash)
);
CREATE INDEX {p}webhook_endpoints_was ON {p}webhook_endpoints (provider, previous_path_hash);
CREATE INDEX {p}webhook_endpoints_of ON {p}webhook_endpoints (tenant_id, integration_id);
CREATE INDEX {p}webhook_endpoints_key ON {p}webhook_endpoints (key_id, id);

CREATE TABLE {p}subscriptions (
  tenant_id          TEXT COLLATE "C" NOT NULL,
  integration_id     TEXT COLLATE "C" NOT NULL,
  provider           TEXT COLLATE "C" NOT NULL,
  name               TEXT COLLATE "C" NOT NULL,
  remote_id          TEXT COLLATE "C" NOT NULL DEFAULT '',
  data               BYTEA,
  expires_at         BIGINT,
  renew_at           BIGINT,
  version            BIGINT NOT NULL DEFAULT 0,
  lease_owner        TEXT COLLATE "C",
  lease_until        BIGINT NOT NULL DEFAULT 0,
  created_at         BIGINT NOT NULL,
  updated_at         BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, integration_id, name)
);
CREATE INDEX {p}subscriptions_due ON {p}subscriptions (renew_at);
