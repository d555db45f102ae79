-- Closes the connections to a VPN task that is gone without a word, because its node lost its power or its network:
-- their clients would otherwise notice by OpenVPN's own ping, after a minute, and connect again only then.
--
-- `on-marked-down shutdown-sessions` cannot be used for this: a server is also marked down when its task drains (/ping
-- answers 503) or when its address leaves Docker's DNS, which comes first in each update. The task must then disconnect
-- its clients itself, one by one. So what counts is a check whose connection was not answered at all.
--
-- After a reload the old worker keeps its connections, but checks no server any more: those are not closed.

-- Seconds, set in haproxy.cfg: for this long a node may be unreachable without losing its connections.
local PATIENCE = tonumber(os.getenv("VPN_TASK_LOST"))

-- Since when each server of these backends cannot be reached.
local since = {openvpn = {}, tunnel = {}}

-- After some seconds Docker's DNS drops a lost task, so that its server is in maintenance and is no longer checked:
-- that alone says nothing about the task.
local function is_lost(known, name, statistics)
    local check = statistics.check_status or ""
    if statistics.status:sub(1, 2) == "UP" or check:find("L7", 1, true) then
        known[name] = nil
    elseif statistics.status:sub(1, 4) == "DOWN" and check:find("L4TOUT", 1, true) then
        known[name] = known[name] or core.now().sec
    end
    return known[name] and core.now().sec - known[name] >= PATIENCE
end

core.register_task(function()
    while true do
        core.sleep(1)
        for backend, known in pairs(since) do
            for name, server in pairs(core.backends[backend].servers) do
                local statistics = server:get_stats()
                if is_lost(known, name, statistics) and statistics.scur > 0 then
                    core.Warning(("%s/%s cannot be reached: closing connections: %d"):format(
                        backend, name, statistics.scur))
                    server:shut_sess()
                end
            end
        end
    end
end)
