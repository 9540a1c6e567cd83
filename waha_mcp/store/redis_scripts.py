"""The Lua scripts of the store on Redis: each is one step, atomic among all machines.

All keys begin with `{waha-mcp}:`, whose braces put them on one node of a cluster:

    id               the id of the store; created with its first use
    number           counts the writes
    lost             the id of a store that lost data; while it exists, nothing is read or written
    past             the ids of stores whose loss the user has accepted (a set)
    rows:<table>     key of a row -> `<number of its creation>:<when it expires, or nothing>:<value>` (a hash)
    keys:<table>     the keys of the rows (a sorted set, by their bytes)
    ends:<table>     the keys of the rows that expire, by when (a sorted set)
    events:<key>     the ids of the events of one key, by time (a sorted set)
    process:<id>     exists while the process with this id is alive; expires
    done:<id>        exists for a while after the swap with this id; expires

Times are microseconds since 1970, by the clock of Redis.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

PREFIX = "{waha-mcp}:"
#: The keys that each script gets first.
GUARDED = tuple(f"{PREFIX}{name}" for name in ("id", "lost", "past", "number"))

#: Sets `now`.
CLOCK = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
"""

#: Makes sure that this is the store that the caller knows, with all that the caller has seen written, and that the
#: caller still waits. Then `answer` gives the state, the time, the id of the store and the number of writes.
#: ARGV: the id that the caller knows ("" for none), the most writes that it has seen, an id for a new store, and the
#: time until which it waits.
_GUARD = """
local known, seen, fresh, deadline = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local id, number = redis.call('GET', KEYS[1]), tonumber(redis.call('GET', KEYS[4]) or '0')
local function answer(state, result) return {state, now, id or '', number, result} end
if now > deadline then return answer('late') end
if redis.call('EXISTS', KEYS[2]) == 1 then return answer('lost') end
if known == '' and not id then
  id = fresh
  redis.call('SET', KEYS[1], id)
elseif known ~= '' and (id ~= known or number < seen) then
  if not id or id == known or redis.call('SISMEMBER', KEYS[3], known) == 0 then
    redis.call('SET', KEYS[2], known)
    return answer('lost')
  end
end
local function text(number) return string.format('%.0f', number) end
local function count()
  number = redis.call('INCR', KEYS[4])
  return text(number)
end
-- The value of a row and the number of its creation; false if it has expired.
local function read(packed)
  if not packed then return false end
  local first = string.find(packed, ':', 1, true)
  local second = string.find(packed, ':', first + 1, true)
  local expires = string.sub(packed, first + 1, second - 1)
  if expires ~= '' and tonumber(expires) <= now then return false end
  return string.sub(packed, second + 1), string.sub(packed, 1, first - 1)
end
local function remove(key)
  redis.call('HDEL', KEYS[5], key)
  redis.call('ZREM', KEYS[6], key)
  redis.call('ZREM', KEYS[7], key)
end
"""

#: KEYS: rows. ARGV: the key.
GET = "return answer('ok', (read(redis.call('HGET', KEYS[5], ARGV[5]))))"

#: KEYS: rows, keys. ARGV: the prefix. Keys and packed rows in turn.
ROWS = """
local found = {}
local keys = redis.call('ZRANGEBYLEX', KEYS[6], '[' .. ARGV[5], '(' .. ARGV[5] .. '\\255')
for from = 1, #keys, 1000 do
  local some = {unpack(keys, from, math.min(from + 999, #keys))}
  for at, packed in ipairs(redis.call('HMGET', KEYS[5], unpack(some))) do
    if read(packed) then
      found[#found + 1] = some[at]
      found[#found + 1] = packed
    end
  end
end
return answer('ok', found)
"""

#: KEYS: rows, keys, ends, done. ARGV: the key, "1" and the value before ("0" for no row), "1" and the value after,
#: when it expires ("" for never), the milliseconds for which `done` stands.
SWAP = """
if redis.call('EXISTS', KEYS[8]) == 1 then return answer('ok', 1) end
local value, made = read(redis.call('HGET', KEYS[5], ARGV[5]))
if ARGV[6] == '1' and value ~= ARGV[7] or ARGV[6] == '0' and value then return answer('ok', 0) end
local counted = count()
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', text(now), 'LIMIT', 0, 1000)) do remove(key) end
if ARGV[8] == '0' then
  remove(ARGV[5])
else
  redis.call('HSET', KEYS[5], ARGV[5], (value and made or counted) .. ':' .. ARGV[10] .. ':' .. ARGV[9])
  redis.call('ZADD', KEYS[6], 0, ARGV[5])
  if ARGV[10] == '' then
    redis.call('ZREM', KEYS[7], ARGV[5])
  else
    redis.call('ZADD', KEYS[7], ARGV[10], ARGV[5])
  end
end
redis.call('SET', KEYS[8], 1, 'PX', ARGV[11])
return answer('ok', 1)
"""

#: KEYS: rows, keys, ends. ARGV: keys and values in turn. The values that stand then.
CLAIM = """
local found = {}
for at = 5, #ARGV, 2 do
  local value = read(redis.call('HGET', KEYS[5], ARGV[at]))
  if not value then
    value = ARGV[at + 1]
    redis.call('HSET', KEYS[5], ARGV[at], count() .. '::' .. value)
    redis.call('ZADD', KEYS[6], 0, ARGV[at])
    redis.call('ZREM', KEYS[7], ARGV[at])
  end
  found[#found + 1] = value
end
return answer('ok', found)
"""

#: KEYS: rows, keys, ends. ARGV: the prefix, the most rows.
TRIM = """
local low, high, most = '[' .. ARGV[5], '(' .. ARGV[5] .. '\\255', tonumber(ARGV[6])
local total = redis.call('ZLEXCOUNT', KEYS[6], low, high)
if total > most then
  local rows = {}
  for at, key in ipairs(redis.call('ZRANGEBYLEX', KEYS[6], low, high)) do
    rows[at] = {key, tonumber(string.match(redis.call('HGET', KEYS[5], key), '^%d+'))}
  end
  table.sort(rows, function(one, other) return one[2] < other[2] end)
  count()
  for at = 1, total - (most - math.floor(most / 10)) do remove(rows[at][1]) end
end
return answer('ok', 1)
"""

#: KEYS: the events of each count, in turn. ARGV: "1" to count, "0" only to look; how long an event is kept; then of
#: each count its event's id, how many limits it has, and of each limit the amount and the window.
#: The result: nothing, or of the limit that is reached the count's place, its own (from 0), and how long to wait.
TAKE = """
local keep, kept, at = ARGV[5] == '1', tonumber(ARGV[6]), 7
-- Asked again, because the answer was lost.
if keep and #KEYS > 4 and redis.call('ZSCORE', KEYS[5], ARGV[7]) then return answer('ok', {}) end
local more, events = {}, {}
for place = 5, #KEYS do
  local key, added = KEYS[place], more[KEYS[place]] or 0
  events[place] = ARGV[at]
  local limits = tonumber(ARGV[at + 1])
  at = at + 2
  for limit = 0, limits - 1 do
    local amount, window = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    at = at + 2
    local since = nil
    if amount <= added then
      since = now
    else
      local nth = redis.call('ZREVRANGE', key, amount - 1 - added, amount - 1 - added, 'WITHSCORES')[2]
      -- Events in the future (the clock was set back) count as of now.
      if nth and tonumber(nth) > now - window then since = math.min(tonumber(nth), now) end
    end
    if since then return answer('ok', {place - 5, limit, since + window - now}) end
  end
  more[key] = added + 1
end
if keep and #KEYS > 4 then
  count()
  for place = 5, #KEYS do
    local key = KEYS[place]
    redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now - kept))
    for _, event in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. text(now), '+inf')) do
      redis.call('ZADD', key, text(now), event)
    end
    redis.call('ZADD', key, text(now), events[place])
    redis.call('PEXPIRE', key, text(kept / 1000))
  end
end
return answer('ok', {})
"""

#: KEYS: the events of each id. ARGV: the ids.
GIVE_BACK = """
for place = 5, #KEYS do redis.call('ZREM', KEYS[place], ARGV[place]) end
return answer('ok', 1)
"""

#: ARGV: the prefix of whole keys, as it is and as a pattern, and how far back. Keys without it, and the times of each.
EVENTS = """
local found, had, cursor = {}, {}, '0'
repeat
  local part = redis.call('SCAN', cursor, 'MATCH', ARGV[6], 'COUNT', 1000)
  cursor = part[1]
  for _, key in ipairs(part[2]) do
    -- SCAN may give a key twice.
    if not had[key] then
      had[key] = true
      local times = {}
      local rows = redis.call('ZRANGEBYSCORE', key, '(' .. text(now - tonumber(ARGV[7])), '+inf', 'WITHSCORES')
      for at = 2, #rows, 2 do times[#times + 1] = text(math.min(tonumber(rows[at]), now)) end
      if #times > 0 then
        found[#found + 1] = string.sub(key, #ARGV[5] + 1)
        found[#found + 1] = times
      end
    end
  end
until cursor == '0'
return answer('ok', found)
"""

#: KEYS: the process. ARGV: "1" for a new one, and how many milliseconds it lives. Whether it lives.
HOLD = """
if ARGV[5] == '1' then
  redis.call('SET', KEYS[5], 1, 'PX', ARGV[6])
  return answer('ok', 1)
end
return answer('ok', redis.call('PEXPIRE', KEYS[5], ARGV[6]))
"""

#: KEYS: the process.
ALIVE = "return answer('ok', redis.call('EXISTS', KEYS[5]))"

#: Not guarded. KEYS: as `GUARDED`. ARGV: the id that this machine knows ("" for none), an id for the store.
#: The user accepts what was lost. Whether anything was.
ACCEPT = """
local id, lost = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if not lost and (ARGV[1] == '' or ARGV[1] == id or redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1) then return 0 end
for _, each in ipairs({ARGV[1], lost or '', id or ''}) do
  if each ~= '' then redis.call('SADD', KEYS[3], each) end
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return 1
"""


def guarded(body: str) -> tuple[str, str]:
    """A whole script, and its SHA-1 in hex, by which Redis knows it."""
    return _whole(f"{CLOCK}{_GUARD}{body}")


@lru_cache(maxsize=64)
def _whole(text: str) -> tuple[str, str]:
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
