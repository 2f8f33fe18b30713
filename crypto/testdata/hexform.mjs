// Makes hexform.json: node hexform.mjs > hexform.json
import { createCipheriv, createHash } from "node:crypto";

const key = createHash("sha256").update("integrations hex form test key").digest();
const bytes = (n, seed) => Buffer.concat([0, 1].map((i) => createHash("sha256").update(seed + i).digest())).subarray(0, n);
const texts = ["", "a", "xoxb-1-test", "café ☕", "\u0000\u0001", "ghs_" + "A1._".repeat(129), "1//0g" + "z".repeat(2043), '{"json":"inside"}'];

const vectors = [16, 12].flatMap((ivLength) => texts.map((plaintext, i) => {
  const iv = bytes(ivLength, `iv ${ivLength} ${i} `);
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  const box = Buffer.concat([cipher.update(plaintext, "utf8"), cipher.final()]);
  return { plaintext, sealed: [iv, cipher.getAuthTag(), box].map((b) => b.toString("hex")).join(":") };
}));
console.log(JSON.stringify({ key: key.toString("hex"), vectors }, null, 1));
