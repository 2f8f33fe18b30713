// Makes node_table.json: node node_table.mjs > node_table.json
// A row of each provider as a Node application keeps it, tokens sealed by Node's own
// crypto, and beside each row what was sealed.
import { createCipheriv, createHash } from "node:crypto";

const key = createHash("sha256").update("integrations node table test key").digest();
let sealed = 0;
const seal = (plaintext) => {
  if (plaintext === null) return null;
  const iv = createHash("sha256").update(`iv ${sealed++}`).digest().subarray(0, 16);
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  const box = Buffer.concat([cipher.update(plaintext, "utf8"), cipher.final()]);
  return [iv, cipher.getAuthTag(), box].map((b) => b.toString("hex")).join(":");
};

const plain = [
  { tenantId: "acme", provider: "slack", status: "active", access: "xoxb-test-of-acme", refresh: null, tokenExpiresAt: null, scope: "chat:write,channels:read", externalId: "T9TK3CUKW", metadata: { teamName: "Acme Ünlimited", plan: "pro" } },
  { tenantId: "acme", provider: "github", status: "active", access: "ghs_test.of.acme", refresh: null, tokenExpiresAt: "2031-05-17T10:30:00.123Z", scope: null, externalId: "41823", metadata: null },
  { tenantId: "acme", provider: "jira", status: "expired", access: "jwt.test." + "a1_-".repeat(300), refresh: "jwt.refresh." + "Zm9v".repeat(150), tokenExpiresAt: "2024-01-02T03:04:05Z", scope: "read:jira-work write:jira-work offline_access", externalId: "35273b54-3f06-40d2-880f-dd28cf8daafa", metadata: { siteUrl: "https://acme.atlassian.net" } },
  { tenantId: "globex", provider: "salesforce", status: "active", access: "00D5e000000KQ2e!test.of.globex_-", refresh: "refresh.test.of.globex==", tokenExpiresAt: null, scope: "api refresh_token id", externalId: "00D5e000000KQ2e", metadata: { instance_url: "https://globex.my.salesforce.com" } },
  { tenantId: "globex", provider: "hubspot", status: "active", access: "hubspot-access-test-of-globex", refresh: "hubspot-refresh-test-of-globex", tokenExpiresAt: "2031-05-17T10:30:00Z", scope: "crm.objects.contacts.read oauth", externalId: "62515", metadata: {} },
  { tenantId: "initech", provider: "google_sheets", status: "connected", access: "google-access-" + "A0AR-".repeat(40), refresh: "1//google-refresh-test", tokenExpiresAt: "2031-05-17T10:30:00+02:00", scope: "openid https://www.googleapis.com/auth/spreadsheets", externalId: "108204268033311374519", metadata: { email: "peter@initech.example" } },
];

const rows = plain.map(({ access, refresh, ...row }) => ({
  row: { ...row, accessToken: seal(access), refreshToken: seal(refresh) }, access, refresh,
}));
console.log(JSON.stringify({ key: key.toString("hex"), rows }, null, 1));
