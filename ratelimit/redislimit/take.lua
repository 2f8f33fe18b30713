-- Gives out units of several budgets, all or nothing, by the server's clock.
-- KEYS: a hash for each budget, then the sorted set of those who ask.
-- ARGV: who asks, then for each budget its kind, units, window, burst, reserve, and
-- the units wanted and needed. Times are in microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local n = #KEYS - 1
local who = KEYS[n + 1]
redis.call('ZADD', who, now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', who, 0, now - 30000000)
redis.call('PEXPIRE', who, 60000)
local out = {redis.call('ZCARD', who)}
local writes = {}
local all = true
for i = 1, n do
  local at = 1 + (i - 1) * 7
  local kind, units, window, burst, reserve, want, least = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]),
    tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  local h = redis.call('HMGET', KEYS[i], 'state', 'finish', 'pause', 'limit', 'told')
  local state, finish, pause = tonumber(h[1] or 0) or 0, tonumber(h[2] or 0) or 0, tonumber(h[3] or 0) or 0
  units = tonumber(h[4] or '') or units
  local given, lasts, retry, fresh = 0, 0, 0, false
  if pause > now then
    retry = pause - now
  elseif kind == 0 then
    local each = window / units
    local full = math.max(state, now)
    burst = math.max(burst, least)
    given = math.min(want, math.floor(burst - (full - now) / each + 0.000001))
    if given < least then
      retry = math.ceil(full + least * each - now - burst * each)
    else
      lasts = math.min(window, 1000000)
      writes[i] = {'state', full + given * each, lasts + (full + given * each - now)}
    end
  else
    if finish <= now then
      state, finish, fresh = 0, now + window, true
      if kind == 2 then finish = now - now % window + window end
    end
    local most = units - math.min(reserve, math.floor(units / 2))
    given = math.min(want, most - state)
    if state == 0 and given < least then given = least end
    if given < least then
      retry = finish - now
    else
      lasts = finish - now
      writes[i] = {'state', state + given, lasts + window, 'finish', finish, fresh}
      -- The provider's window may end sooner than this one as long as no answer told:
      -- what is taken ahead must not be spent in the next.
      if kind == 1 and (fresh or h[5] ~= '1') then lasts = math.min(lasts, 1000000) end
    end
  end
  if given < least then all = false end
  out[#out + 1] = given
  out[#out + 1] = math.floor(lasts)
  out[#out + 1] = math.max(0, math.floor(retry))
end
for i = 1, n do
  if not all then
    out[2 + (i - 1) * 3] = 0
  else
    local w = writes[i]
    redis.call('HSET', KEYS[i], w[1], string.format('%.0f', w[2]))
    if w[4] then redis.call('HSET', KEYS[i], w[4], string.format('%.0f', w[5])) end
    -- Of a new window no answer told yet when it ends.
    if w[6] then redis.call('HSET', KEYS[i], 'told', 0) end
    redis.call('PEXPIRE', KEYS[i], math.ceil(w[3] / 1000) + 1000)
  end
end
return out
