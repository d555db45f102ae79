-- http://ca.<domain>/crl.der: the CA's revocation list as DER (RFC 5280, section 4.2.1.13; RFC 2585, section 4.2).
-- cfssl itself answers {"success": true, "result": "<base64>", ...} (cloudflare/cfssl v1.6.5, api/crl/crl.go).
-- Clients need no password for this, so the CA is asked at most once in FRESH seconds, however many clients ask.

-- The address of the frontend in haproxy.cfg through which the CA is asked.
local CA = os.getenv("CA_FOR_LUA")
local FRESH = 5
-- Seconds: more than haproxy.cfg allows the CA for its list, because HAProxy's client retries three times after this
-- timeout, but not after a response of 503 or 504.
local LIMIT = 10
-- How much the converter b64dec decodes at a time: less than a buffer (tune.bufsize, 16384), and a multiple of 4.
local PIECE = 8192

-- One Lua state for all threads (lua-load); its functions yield only when they wait.
local answer = {status = 503, body = "", ends = 0}
local asking = 0

local function decoded(converters, text)
    local pieces = {}
    for at = 1, #text, PIECE do
        pieces[#pieces + 1] = converters:b64dec(text:sub(at, at + PIECE - 1))
    end
    return table.concat(pieces)
end

-- Status and body: 503 if the CA does not answer with 200, 502 if the content is not a revocation list.
local function ask(converters)
    local response = core.httpclient():get {
        url = "http://balena-ca/api/v1/cfssl/crl",
        dst = CA,
        timeout = LIMIT * 1000
    }
    if response.status ~= 200 then
        return 503, ""
    end
    local list = decoded(converters, (response.body or ""):match('"result"%s*:%s*"([%w+/]+=*)"') or "")
    -- A list in DER is a SEQUENCE (RFC 5280, section 5.1).
    if list:byte(1) ~= 0x30 then
        return 502, ""
    end
    return 200, list
end

local function current(converters)
    -- Another request is asking: wait at most LIMIT, in case it ended without an answer.
    while core.now().sec < asking do
        core.msleep(100)
    end
    if core.now().sec >= answer.ends then
        asking = core.now().sec + LIMIT + 1
        local status, body = ask(converters)
        answer = {status = status, body = body, ends = core.now().sec + (status == 200 and FRESH or 1)}
        asking = 0
    end
    return answer
end

core.register_service("revocation_list", "http", function(applet)
    local list = current(applet.c)
    applet:set_status(list.status)
    applet:add_header("content-length", tostring(#list.body))
    if list.status == 200 then
        applet:add_header("content-type", "application/pkix-crl")
        applet:add_header("cache-control", "max-age=" .. FRESH)
    end
    applet:start_response()
    if applet.method ~= "HEAD" then
        applet:send(list.body)
    end
end)
