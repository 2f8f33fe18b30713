-- Times are milliseconds since 1970 in UTC. {p} is the table prefix. Text is kept
-- as bytes: the collations of text take "a" and "A", or "a" and "a ", for the same
-- tenant. Every statement stands to be repeated, because each commits by itself.

CREATE TABLE IF NOT EXISTS {p}integrations (
  id                 VARBINARY(36) NOT NULL PRIMARY KEY,
  tenant_id          VARBINARY(191) NOT NULL,
  provider           VARBINARY(64) NOT NULL,
  label              VARBINARY(64) NOT NULL DEFAULT '',
  external_id        VARBINARY(191),
  external_alias     VARBINARY(191),
  exclusive_key      VARBINARY(300) UNIQUE,
  status             VARBINARY(24) NOT NULL,
  status_reason      VARBINARY(64) NOT NULL DEFAULT '',
  access_token       LONGBLOB,
  refresh_token      LONGBLOB,
  key_id             VARBINARY(32),
  scopes             LONGBLOB,
  metadata           LONGBLOB,
  provider_data      LONGBLOB,
  token_expires_at   BIGINT,
  refresh_expires_at BIGINT,
  token_gen          BIGINT NOT NULL DEFAULT 0,
  version            BIGINT NOT NULL DEFAULT 0,
  lease_owner        VARBINARY(32),
  lease_until        BIGINT NOT NULL DEFAULT 0,
  lease_epoch        BIGINT NOT NULL DEFAULT 0,
  refresh_fails      INT NOT NULL DEFAULT 0,
  refresh_error      VARBINARY(64) NOT NULL DEFAULT '',
  refresh_failing_since BIGINT,
  refresh_reported   INT NOT NULL DEFAULT 0,
  next_refresh_at    BIGINT NOT NULL DEFAULT 0,
  last_refresh_at    BIGINT,
  grant_end          SMALLINT NOT NULL DEFAULT 0,
  verify_at          BIGINT NOT NULL DEFAULT 0,
  connected_at       BIGINT NOT NULL,
  created_at         BIGINT NOT NULL,
  updated_at         BIGINT NOT NULL,
  clashes            INT NOT NULL DEFAULT 0,
  UNIQUE (tenant_id, provider, label),
  KEY {p}integrations_due (status, next_refresh_at, id),
  KEY {p}integrations_end (status, grant_end, refresh_expires_at, id),
  KEY {p}integrations_verify (status, verify_at, id),
  KEY {p}integrations_ext (provider, external_id),
  KEY {p}integrations_alias (provider, external_alias),
  KEY {p}integrations_key (key_id, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS {p}oauth_flows (
  state_hash         VARBINARY(64) NOT NULL PRIMARY KEY,
  browser_hash       VARBINARY(64) NOT NULL,
  tenant_id          VARBINARY(191) NOT NULL,
  actor_id           VARBINARY(191) NOT NULL,
  session_hash       VARBINARY(64) NOT NULL DEFAULT '',
  provider           VARBINARY(64) NOT NULL,
  label              VARBINARY(64) NOT NULL DEFAULT '',
  redirect_uri       VARBINARY(2048) NOT NULL,
  return_to          VARBINARY(2048) NOT NULL DEFAULT '',
  verifier           LONGBLOB,
  scopes             LONGBLOB,
  expect_external_id VARBINARY(191) NOT NULL DEFAULT '',
  site               VARBINARY(255) NOT NULL DEFAULT '',
  created_at         BIGINT NOT NULL,
  expires_at         BIGINT NOT NULL,
  consumed_at        BIGINT,
  clashes            INT NOT NULL DEFAULT 0,
  KEY {p}oauth_flows_tenant (tenant_id, created_at),
  KEY {p}oauth_flows_end (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS {p}webhook_inbox (
  id                 VARBINARY(36) NOT NULL PRIMARY KEY,
  provider           VARBINARY(64) NOT NULL,
  delivery_id        VARBINARY(191) NOT NULL,
  body_hash          VARBINARY(64),
  tenant_id          VARBINARY(191) NOT NULL DEFAULT '',
  integration_id     VARBINARY(36) NOT NULL DEFAULT '',
  external_id        VARBINARY(191) NOT NULL DEFAULT '',
  event_type         VARBINARY(191) NOT NULL,
  order_key          VARBINARY(191) NOT NULL DEFAULT '',
  body               LONGBLOB,
  key_id             VARBINARY(32),
  headers            LONGBLOB,
  status             SMALLINT NOT NULL,
  claims             INT NOT NULL DEFAULT 0,
  starts             INT NOT NULL DEFAULT 0,
  lost               INT NOT NULL DEFAULT 0,
  -- when it may be claimed: after its time, the end of its lease, or its turn
  run_at             BIGINT NOT NULL,
  -- since when it is due, where run_at was moved by a claim
  due_at             BIGINT,
  lease_owner        VARBINARY(32),
  -- of its order key: 1 waits for one before it, 2 has it and is leased
  turn               SMALLINT NOT NULL DEFAULT 0,
  last_error         BLOB NOT NULL DEFAULT (''),
  occurred_at        BIGINT,
  received_at        BIGINT NOT NULL,
  updated_at         BIGINT NOT NULL,
  clashes            INT NOT NULL DEFAULT 0,
  UNIQUE (provider, delivery_id, integration_id),
  UNIQUE (provider, body_hash, integration_id),
  KEY {p}webhook_inbox_due (status, run_at, id),
  KEY {p}webhook_inbox_next (status, tenant_id, run_at, id),
  KEY {p}webhook_inbox_order (integration_id, order_key, status, received_at, id),
  KEY {p}webhook_inbox_turn (integration_id, order_key, turn, received_at, id),
  KEY {p}webhook_inbox_tenant (tenant_id, received_at),
  KEY {p}webhook_inbox_end (status, updated_at),
  KEY {p}webhook_inbox_key (key_id, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- what hosts did in transactions of their own, see Store.Once
CREATE TABLE IF NOT EXISTS {p}webhook_once (
  event_id           VARBINARY(36) NOT NULL PRIMARY KEY,
  done_at            BIGINT NOT NULL,
  clashes            INT NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS {p}checkpoints (
  tenant_id          VARBINARY(191) NOT NULL,
  integration_id     VARBINARY(36) NOT NULL,
  name               VARBINARY(191) NOT NULL,
  value              LONGBLOB,
  version            BIGINT NOT NULL DEFAULT 0,
  lease_owner        VARBINARY(32),
  lease_until        BIGINT NOT NULL DEFAULT 0,
  lease_epoch        BIGINT NOT NULL DEFAULT 0,
  clashes            INT NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, integration_id, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS {p}webhook_endpoints (
  id                 VARBINARY(36) NOT NULL PRIMARY KEY,
  tenant_id          VARBINARY(191) NOT NULL,
  integration_id     VARBINARY(36) NOT NULL,
  provider           VARBINARY(64) NOT NULL,
  path_hash          VARBINARY(64) NOT NULL,
  previous_path_hash VARBINARY(64),
  secret             LONGBLOB,
  previous_secret    LONGBLOB,
  key_id             VARBINARY(32),
  previous_until     BIGINT,
  version            BIGINT NOT NULL DEFAULT 0,
  created_at         BIGINT NOT NULL,
  clashes            INT NOT NULL DEFAULT 0,
  UNIQUE (provider, path_hash),
  KEY {p}webhook_endpoints_was (provider, previous_path_hash),
  KEY {p}webhook_endpoints_of (tenant_id, integration_id),
  KEY {p}webhook_endpoints_key (key_id, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS {p}subscriptions (
  tenant_id          VARBINARY(191) NOT NULL,
  integration_id     VARBINARY(36) NOT NULL,
  provider           VARBINARY(64) NOT NULL,
  name               VARBINARY(191) NOT NULL,
  remote_id          VARBINARY(191) NOT NULL DEFAULT '',
  data               LONGBLOB,
  expires_at         BIGINT,
  renew_at           BIGINT,
  version            BIGINT NOT NULL DEFAULT 0,
  lease_owner        VARBINARY(32),
  lease_until        BIGINT NOT NULL DEFAULT 0,
  created_at         BIGINT NOT NULL,
  updated_at         BIGINT NOT NULL,
  clashes            INT NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, integration_id, name),
  KEY {p}subscriptions_due (renew_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
