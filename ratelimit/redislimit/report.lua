-- Takes over what answers of a provider say.
-- KEYS: a hash for each budget. ARGV: for each its kind, units, window, burst, and
-- the limit (0 unknown), the units left (negative unknown), when the window ends (0
-- unknown, negative past) and how long nobody may go. Times are in microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i = 1, #KEYS do
  local at = (i - 1) * 8
  local kind, units, window, burst, limit, left, reset, stop = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]),
    tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8])
  local h = redis.call('HMGET', KEYS[i], 'state', 'finish', 'pause', 'limit', 'told')
  local state, finish, pause, told = tonumber(h[1] or 0) or 0, tonumber(h[2] or 0) or 0, tonumber(h[3] or 0) or 0, tonumber(h[5] or 0) or 0
  local keep = window
  if kind ~= 0 and limit > 0 then
    units = limit
    redis.call('HSET', KEYS[i], 'limit', string.format('%.0f', limit))
  elseif h[4] then
    units = tonumber(h[4])
  end
  if kind == 0 and units > 0 and left >= 0 and left < burst then
    state = math.max(state, now + (burst - left) * window / units)
    keep = keep + state - now
    redis.call('HSET', KEYS[i], 'state', string.format('%.0f', state))
  elseif kind ~= 0 and units > 0 and left >= 0 and reset >= 0 and not (reset > 0 and reset < 2000000 and window > 20000000) then
    local used = math.max(0, units - left)
    local ends = now + reset
    if reset == 0 then
      if finish <= now then state, finish, told = 0, now + window, 0 end
      state = math.max(state, used)
    elseif finish <= now then
      state, finish, told = used, ends, 1
    elseif told == 0 then
      state, finish, told = math.max(state, used), ends, 1
    elseif ends > finish + 2000000 then
      state, finish = used, ends
    elseif ends >= finish - 2000000 then
      state = math.max(state, used)
    end
    keep = keep + math.max(0, finish - now)
    redis.call('HSET', KEYS[i], 'state', string.format('%.0f', state), 'finish', string.format('%.0f', finish), 'told', told)
  end
  if stop > 0 then
    redis.call('HSET', KEYS[i], 'pause', string.format('%.0f', math.max(pause, now + stop)))
    keep = keep + stop
  end
  if redis.call('PTTL', KEYS[i]) < keep / 1000 then
    redis.call('PEXPIRE', KEYS[i], math.ceil(keep / 1000) + 1000)
  end
end
return 1
