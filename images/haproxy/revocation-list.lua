-- http://ca.<domain>/crl.der: the CA's revocation list as DER (RFC 5280, section 4.2.1.13; RFC 2585, section 4.2).
-- cfssl answers {"success": true, "result": "<base64>", ...} instead (cloudflare/cfssl v1.6.5, api/crl/crl.go).
-- Anyone may ask without a password, so the CA is asked once in FRESH seconds at most, whoever asks here.

-- Where the CA is asked: the address of haproxy.cfg's frontend for this.
local CA = os.getenv("CA_FOR_LUA")
local FRESH = 5
-- Seconds: more than haproxy.cfg gives the CA for its list, since HAProxy's client asks three times more when this is
-- over, but not where it was answered 503 or 504.
local LIMIT = 10
-- What the converter b64dec takes at a time: less than a buffer (tune.bufsize, 16384), and a multiple of 4.
local PIECE = 8192

-- One Lua state for all threads (lua-load), whose functions give way only where they wait.
local answer = {status = 503, body = "", ends = 0}
local asking = 0

local function decoded(converters, text)
    local pieces = {}
    for at = 1, #text, PIECE do
        pieces[#pieces + 1] = converters:b64dec(text:sub(at, at + PIECE - 1))
    end
    return table.concat(pieces)
end

-- Status and body: 503 where the CA does not answer with 200, 502 where that is no list.
local function ask(converters)
    local said = core.httpclient():get {
        url = "http://balena-ca/api/v1/cfssl/crl",
        dst = CA,
        timeout = LIMIT * 1000
    }
    if said.status ~= 200 then
        return 503, ""
    end
    local list = decoded(converters, (said.body or ""):match('"result"%s*:%s*"([%w+/]+=*)"') or "")
    -- DER of a list is a SEQUENCE (RFC 5280, section 5.1).
    if list:byte(1) ~= 0x30 then
        return 502, ""
    end
    return 200, list
end

local function current(converters)
    -- Somebody else asks: for LIMIT at most, also where that request has ended without an answer.
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
    local found = current(applet.c)
    applet:set_status(found.status)
    applet:add_header("content-length", tostring(#found.body))
    if found.status == 200 then
        applet:add_header("content-type", "application/pkix-crl")
        applet:add_header("cache-control", "max-age=" .. FRESH)
    end
    applet:start_response()
    if applet.method ~= "HEAD" then
        applet:send(found.body)
    end
end)
