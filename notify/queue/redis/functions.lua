#!lua name=notify1
-- The queue's atomic steps. Each function touches the keys of one stream, so of one hash slot.
--
-- KEYS of a stream, in this order ({s17} is its hash tag: kind and number):
--   nt:{s17}:q  stream   entries `n` items, `s` since_ms, `c` chunk; one consumer group, whose
--                        one consumer stands for all workers: a holding is told apart by entry
--                        id and delivery count, so that workers that died leave nothing behind
--   nt:{s17}:d  zset     delayed chunks by due_ms; member = sequence (16 digits), items (10),
--                        since_ms (16), chunk
--   nt:{s17}:a  zset     since_ms of late entries, by stream id, and of delayed ones, by `d` and
--                        sequence. Late is an entry older than one before it in the stream: so
--                        the others stand in the order of their age, and the least since_ms of
--                        all is the first entry's or the least in here. Most are not late.
--   nt:{s17}:m  hash     `run` the server run that the contents belong to, `depth` items,
--                        `seq` last sequence of the delay set, `top` greatest since_ms in the
--                        stream so far, `spill` flag
-- Other keys:
--   nt:epoch         string  the run, a nonce and the epoch's token, separated by spaces
--   nt:{wake:s}      stream  wake log of a kind: `p` numbers of streams pushed to, `d` of those
--                            pushed to with a delay; its ids 0-1, 0-2, ... have no gap
--   nt:{lease:NAME}  string  owner of a named lease
--   nt:{share:GROUP}:m  zset  members of a group by the moment at which their time runs out
--   nt:{share:GROUP}:k  hash  key -> life of the member that holds it; `@MEMBER` its life,
--                             `#MEMBER` the version of what it holds; `lives` last life; `?` a
--                             text. A life is an unbroken membership: when it ends, all that it
--                             held is free without being touched. Both keys end with the last
--                             member's time; until then a field stays for every key ever held.
--
-- ARGV[1] of a stream's functions is the run id of the server as the caller's connection knows
-- it. What an earlier run left (a snapshot, an append-only file, a promoted replica) may lack
-- what was pushed last and hold what was acknowledged: it is dropped when it is met.
--
-- An empty stream lives on for a minute: a stream made anew could give an entry the id of one
-- that was acknowledged in the same millisecond, and a late second acknowledgement would hit it.

local GROUP = 'w'
local EMPTY_TTL_S = 60
local WAKE_ENTRIES = 1000
-- Longer than 64 bytes, which makes the hash that holds it a table at once: as a list, which a
-- hash is up to 512 fields, taking 500 keys took 4 ms instead of 0.6.
local SHARE_TEXT = 'number: life of the member that holds it; @member: its life; #member: its version'
-- Arguments that one redis.call takes without straining the Lua stack.
local SPREAD = 2000

local function ours(keys, run)
  local was = redis.call('HGET', keys[4], 'run')
  if was == run then return true end
  if was then redis.call('UNLINK', keys[1], keys[2], keys[3], keys[4]) end
  return false
end

local function depth_of(keys)
  return tonumber(redis.call('HGET', keys[4], 'depth') or 0)
end

local function failed(answer)
  return type(answer) == 'table' and answer.err
end

-- Append a chunk to the stream; `ages` gets its age where it is late. Answers the new top.
local function append(keys, top, items, since, chunk, ages)
  local id = redis.call('XADD', keys[1], '*', 'n', items, 's', since, 'c', chunk)
  local since_ms = tonumber(since)
  if since_ms >= top then return since_ms end
  ages[#ages + 1] = since
  ages[#ages + 1] = id
  return top
end

local function spread(command, key, arguments)
  for first = 1, #arguments, SPREAD do
    redis.call(command, key, unpack(arguments, first, math.min(first + SPREAD - 1, #arguments)))
  end
end

-- ARGV: run, now_ms, then for each chunk: items, due_ms, since_ms (0: now), chunk.
-- Answers the depth.
local function push(keys, args)
  local run, now = args[1], args[2]
  local held = ours(keys, run)
  local depth, seq, top = 0, 0, 0
  if held then
    local was = redis.call('HMGET', keys[4], 'depth', 'seq', 'top')
    depth, seq, top = tonumber(was[1] or 0), tonumber(was[2] or 0), tonumber(was[3] or 0)
  end
  if depth == 0 then
    if redis.call('EXISTS', keys[1]) == 1 then
      redis.call('PERSIST', keys[1])
      redis.call('PERSIST', keys[4])
    else
      redis.call('XGROUP', 'CREATE', keys[1], GROUP, '0', 'MKSTREAM')
    end
  end
  local ages = {}
  for i = 3, #args, 4 do
    local items, due, since, chunk = args[i], args[i + 1], args[i + 2], args[i + 3]
    if since == '0' then since = now end
    if due == '0' then
      top = append(keys, top, items, since, chunk, ages)
    else
      seq = seq + 1
      local name = string.format('%016d', seq)
      local member = name .. string.format('%010d%016d', tonumber(items), tonumber(since)) .. chunk
      redis.call('ZADD', keys[2], due, member)
      ages[#ages + 1] = since
      ages[#ages + 1] = 'd' .. name
    end
    depth = depth + tonumber(items)
  end
  spread('ZADD', keys[3], ages)
  redis.call(
    'HSET', keys[4], 'run', run, 'depth', depth, 'seq', seq, 'top', string.format('%d', top))
  return depth
end

-- Somebody deleted the stream or its group (eviction, an operator): what is left is offered
-- anew, or, where nothing is left, not counted any longer.
local function restore(keys)
  if redis.call('EXISTS', keys[1]) == 1 or redis.call('EXISTS', keys[2]) == 1 then
    redis.pcall('XGROUP', 'CREATE', keys[1], GROUP, '0', 'MKSTREAM')
  elseif depth_of(keys) > 0 then
    redis.call('UNLINK', keys[3], keys[4])
  end
end

-- For a stream that a bare XREADGROUP found to be odd. ARGV: run, chunks_max.
-- Answers as XREADGROUP does.
local function mend(keys, args)
  if not ours(keys, args[1]) then return false end
  restore(keys)
  local answer = redis.pcall(
    'XREADGROUP', 'GROUP', GROUP, GROUP, 'COUNT', args[2], 'STREAMS', keys[1], '>')
  return not failed(answer) and answer
end

-- The delivery count of an entry that somebody holds, nil of any other.
local function holding(keys, id)
  local pending = redis.pcall('XPENDING', keys[1], GROUP, id, id, 1)
  if failed(pending) or not pending[1] then return nil end
  return pending[1][4]
end

-- The same of the oldest entries that are held, by id: mostly, these are the ones asked for.
local function oldest_holdings(keys, count)
  local counts = {}
  local pending = redis.pcall('XPENDING', keys[1], GROUP, '-', '+', count)
  if not failed(pending) then
    for _, entry in ipairs(pending) do counts[entry[1]] = entry[4] end
  end
  return counts
end

-- So many items fewer than before; what a stream keeps that is empty now. Answers the depth.
local function less(keys, items)
  if redis.call('XLEN', keys[1]) > 0 or redis.call('EXISTS', keys[2]) == 1 then
    -- As text: Lua has a -0, which Redis does not take for a number.
    return redis.call('HINCRBY', keys[4], 'depth', string.format('%d', -items))
  end
  redis.call('HSET', keys[4], 'depth', 0)
  redis.call('EXPIRE', keys[1], EMPTY_TTL_S)
  if redis.call('HEXISTS', keys[4], 'spill') == 0 then
    redis.call('EXPIRE', keys[4], EMPTY_TTL_S)
  end
  return 0
end

-- ARGV: run, then for each claim: id, delivery count, items. A dead claim is passed over.
-- Answers the depth.
local function ack(keys, args)
  if not ours(keys, args[1]) then return 0 end
  local counts = oldest_holdings(keys, (#args - 1) / 3)
  local ids, items = {}, 0
  local taken = {}
  for i = 2, #args, 3 do
    local id = args[i]
    if not taken[id] and (counts[id] or holding(keys, id)) == tonumber(args[i + 1]) then
      taken[id] = true
      ids[#ids + 1] = id
      items = items + tonumber(args[i + 2])
    end
  end
  if #ids == 0 then return depth_of(keys) end
  redis.call('XACK', keys[1], GROUP, unpack(ids))
  redis.call('XDEL', keys[1], unpack(ids))
  if redis.call('EXISTS', keys[3]) == 1 then redis.call('ZREM', keys[3], unpack(ids)) end
  return less(keys, items)
end

-- ARGV: run, entry, items and chunk of what takes its place ('' removes it), and of a delayed
-- one its member. Answers 0 where it is claimed, moved or gone.
local function replace(keys, args)
  local id, items, chunk, member = args[2], args[3], args[4], args[5]
  if not ours(keys, args[1]) then return 0 end
  local before
  if member then
    local due = redis.call('ZSCORE', keys[2], member)
    if not due then return 0 end
    before = member:sub(17, 26)
    redis.call('ZREM', keys[2], member)
    if chunk == '' then
      redis.call('ZREM', keys[3], id)
    else
      local head = string.format('%s%010d%s', member:sub(1, 16), tonumber(items), member:sub(27, 42))
      redis.call('ZADD', keys[2], due, head .. chunk)
    end
  else
    local entry = redis.call('XRANGE', keys[1], id, id)[1]
    if not entry or holding(keys, id) then return 0 end
    before = entry[2][2]
    redis.call('XDEL', keys[1], id)
    redis.call('ZREM', keys[3], id)
    if chunk ~= '' then
      local top, ages = tonumber(redis.call('HGET', keys[4], 'top') or 0), {}
      top = append(keys, top, items, entry[2][4], chunk, ages)
      spread('ZADD', keys[3], ages)
      redis.call('HSET', keys[4], 'top', string.format('%d', top))
    end
  end
  less(keys, tonumber(before) - tonumber(items))
  return 1
end

-- ARGV: run, then for each claim: id, delivery count. A dead claim is passed over.
local function renew(keys, args)
  if not ours(keys, args[1]) then return 0 end
  local counts = oldest_holdings(keys, (#args - 1) / 2)
  local ids = {}
  for i = 2, #args, 2 do
    local id = args[i]
    if (counts[id] or holding(keys, id)) == tonumber(args[i + 1]) then ids[#ids + 1] = id end
  end
  if #ids > 0 then
    ids[#ids + 1] = 'JUSTID'
    redis.call('XCLAIM', keys[1], GROUP, GROUP, 0, unpack(ids))
  end
  return #ids
end

-- ARGV: run, idle_ms, chunks_max.
-- Answers the depth, then for each chunk: id, delivery count, items, since_ms, chunk.
local function takeover(keys, args)
  if not ours(keys, args[1]) then return {0} end
  local wanted = tonumber(args[3])
  local out, taken, cursor = {0}, 0, '0-0'
  repeat
    local answer = redis.pcall(
      'XAUTOCLAIM', keys[1], GROUP, GROUP, args[2], cursor, 'COUNT', wanted - taken)
    if failed(answer) then
      restore(keys)
      break
    end
    cursor = answer[1]
    for _, entry in ipairs(answer[2]) do
      local fields = entry[2]
      taken = taken + 1
      out[#out + 1] = entry[1]
      out[#out + 1] = holding(keys, entry[1])
      out[#out + 1] = fields[2]
      out[#out + 1] = fields[4]
      out[#out + 1] = fields[6]
    end
  until taken >= wanted or cursor == '0-0'
  out[1] = depth_of(keys)
  return out
end

-- ARGV: run, now_ms, chunks_max.
-- Answers how many chunks moved, when the next one is due (0: none), and the depth.
local function promote(keys, args)
  if not ours(keys, args[1]) then return {0, 0, 0} end
  local due = redis.call('ZRANGEBYSCORE', keys[2], '-inf', args[2], 'LIMIT', 0, args[3])
  if #due > 0 then
    local ages, gone = {}, {}
    local top = tonumber(redis.call('HGET', keys[4], 'top') or 0)
    for i, member in ipairs(due) do
      local items = string.format('%d', tonumber(member:sub(17, 26)))
      local since = string.format('%d', tonumber(member:sub(27, 42)))
      top = append(keys, top, items, since, member:sub(43), ages)
      gone[i] = 'd' .. member:sub(1, 16)
    end
    redis.call('ZREM', keys[2], unpack(due))
    redis.call('ZREM', keys[3], unpack(gone))
    spread('ZADD', keys[3], ages)
    redis.call('HSET', keys[4], 'top', string.format('%d', top))
  end
  local next_due = redis.call('ZRANGE', keys[2], 0, 0, 'WITHSCORES')[2]
  return {#due, tonumber(next_due or 0), depth_of(keys)}
end

-- ARGV: run. Answers depth, the least since_ms (0: empty) and the spill flag.
local function gauge(keys, args)
  local meta = redis.call('HMGET', keys[4], 'run', 'depth', 'spill')
  if meta[1] ~= args[1] then return {0, 0, 0} end
  local oldest
  local first = redis.call('XRANGE', keys[1], '-', '+', 'COUNT', 1)[1]
  if first then oldest = tonumber(first[2][4]) end
  local late = redis.call('ZRANGE', keys[3], 0, 0, 'WITHSCORES')[2]
  if late and (not oldest or tonumber(late) < oldest) then oldest = tonumber(late) end
  return {tonumber(meta[2] or 0), oldest or 0, meta[3] and 1 or 0}
end

-- ARGV: run, '1' or '0'.
local function spill(keys, args)
  local held = ours(keys, args[1])
  if args[2] == '1' then
    redis.call('HSET', keys[4], 'run', args[1], 'spill', 1)
    redis.call('PERSIST', keys[4])
  elseif held then
    redis.call('HDEL', keys[4], 'spill')
    if depth_of(keys) == 0 then redis.call('EXPIRE', keys[4], EMPTY_TTL_S) end
  end
  return 1
end

-- KEYS: a wake log. ARGV: numbers of streams pushed to, numbers of those pushed with a delay.
local function wake(keys, args)
  return redis.call('XADD', keys[1], 'MAXLEN', '~', WAKE_ENTRIES, '0-*', 'p', args[1], 'd', args[2])
end

-- KEYS: the epoch. ARGV: run, nonce and token. Answers 1 to the one who began it.
local function begin(keys, args)
  local was = redis.call('GET', keys[1])
  if was and was:sub(1, #args[1] + 1) == args[1] .. ' ' then return 0 end
  redis.call('SET', keys[1], args[1] .. ' ' .. args[2])
  return 1
end

-- KEYS: a lease. ARGV: owner, ttl_ms. Answers 1 to its holder.
local function lease(keys, args)
  local was = redis.call('GET', keys[1])
  if was and was ~= args[1] then return 0 end
  redis.call('SET', keys[1], args[1], 'PX', args[2])
  return 1
end

-- KEYS: a lease. ARGV: owner.
local function release(keys, args)
  if redis.call('GET', keys[1]) ~= args[1] then return 0 end
  return redis.call('DEL', keys[1])
end

-- These are no members any more.
local function part(keys, names)
  for _, name in ipairs(names) do
    redis.call('ZREM', keys[1], name)
    redis.call('HDEL', keys[2], '@' .. name, '#' .. name)
  end
end

-- Take the keys that no living member holds. Answers the others.
local function take(keys, life, names, wanted)
  local fields, alive, taken, refused = {}, {}, {}, {}
  for i, name in ipairs(names) do fields[i] = '@' .. name end
  for _, other in ipairs(redis.call('HMGET', keys[2], unpack(fields))) do
    if other then alive[other] = true end
  end
  for i, holder in ipairs(redis.call('HMGET', keys[2], unpack(wanted))) do
    if holder ~= life then
      if holder and alive[holder] then
        refused[#refused + 1] = wanted[i]
      else
        taken[#taken + 1] = wanted[i]
        taken[#taken + 1] = life
      end
    end
  end
  if #taken > 0 then redis.call('HSET', keys[2], unpack(taken)) end
  return refused
end

-- KEYS: members and holders of a group. ARGV: member, ttl_ms, its life and version as the caller
-- knows them, how many keys it gives back, these, and keys that it wants and does not hold.
-- A life's holdings change by these calls alone, and each that can change them raises the version:
-- so a caller whose version is right knows what it holds. Another one's answer got lost: it must
-- read what it holds, and only its time is prolonged; its version is raised, so that a call of
-- before that is still under way does nothing.
-- Answers 0 for that, 2 where a life began that holds what was taken now, else 1; its life and
-- version, the wanted keys that others hold, and the members.
local function share(keys, args)
  local name, ttl, back = args[1], tonumber(args[2]), tonumber(args[5])
  -- The server's time. TIME is in none of the command categories that Notify has to be allowed.
  redis.call('HSETNX', keys[2], '?', SHARE_TEXT)
  redis.call('PEXPIRE', keys[2], ttl)
  local now = redis.call('PEXPIRETIME', keys[2]) - ttl
  part(keys, redis.call('ZRANGEBYSCORE', keys[1], '-inf', now))

  local mine = redis.call('HMGET', keys[2], '@' .. name, '#' .. name)
  local life, version = mine[1], tonumber(mine[2] or 0)
  local begins = not (life and redis.call('ZSCORE', keys[1], name))
  if begins then
    life = string.format('%d', redis.call('HINCRBY', keys[2], 'lives', 1))
    redis.call('HSET', keys[2], '@' .. name, life)
  end
  redis.call('ZADD', keys[1], now + ttl, name)
  local names = redis.call('ZRANGE', keys[1], 0, -1)
  local last = redis.call('ZSCORE', keys[1], names[#names])
  redis.call('PEXPIREAT', keys[1], last)
  redis.call('PEXPIREAT', keys[2], last)

  local knows = begins or (args[3] == life and tonumber(args[4]) == version)
  local refused = {}
  if knows and back > 0 and not begins then
    redis.call('HDEL', keys[2], unpack(args, 6, 5 + back))
  end
  if knows and #args > 5 + back then
    refused = take(keys, life, names, {unpack(args, 6 + back)})
  end
  if begins or not knows or #args > 5 then
    version = redis.call('HINCRBY', keys[2], '#' .. name, 1)
  end
  return {begins and 2 or knows and 1 or 0, tonumber(life), version, refused, names}
end

-- KEYS: members and holders of a group. ARGV: member.
local function leave(keys, args)
  part(keys, args)
  if redis.call('EXISTS', keys[1]) == 0 then redis.call('UNLINK', keys[2]) end
  return 1
end

-- What drains the queue must work where memory has run out; what fills it must not.
local DRAINS = {'allow-oom'}
redis.register_function('notify1_push', push)
redis.register_function{function_name='notify1_mend', callback=mend, flags=DRAINS}
redis.register_function{function_name='notify1_ack', callback=ack, flags=DRAINS}
redis.register_function{function_name='notify1_replace', callback=replace, flags=DRAINS}
redis.register_function{function_name='notify1_renew', callback=renew, flags=DRAINS}
redis.register_function{function_name='notify1_takeover', callback=takeover, flags=DRAINS}
redis.register_function{function_name='notify1_promote', callback=promote, flags=DRAINS}
redis.register_function{function_name='notify1_gauge', callback=gauge, flags={'no-writes'}}
redis.register_function{function_name='notify1_spill', callback=spill, flags=DRAINS}
redis.register_function{function_name='notify1_wake', callback=wake, flags=DRAINS}
redis.register_function{function_name='notify1_begin', callback=begin, flags=DRAINS}
redis.register_function{function_name='notify1_lease', callback=lease, flags=DRAINS}
redis.register_function{function_name='notify1_release', callback=release, flags=DRAINS}
redis.register_function{function_name='notify1_share', callback=share, flags=DRAINS}
redis.register_function{function_name='notify1_leave', callback=leave, flags=DRAINS}
