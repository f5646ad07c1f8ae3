# SPDX-License-Identifier: MIT
# `sputnik serve`: addresses, keys, hosts, limits, signals, and clients that behave badly. What the API answers is tested elsewhere.
. tests/cases/lib.sh
export XDG_DATA_HOME="$tmp/data"
run "$SPUTNIK" tokenize nano
if grep -qiE 'jansson|pcre2|nano' "$tmp/err"; then skip 'built without parts of the engine, or without nano'; fi
run "$SPUTNIK" serve --port 0 --host 999.1.1.1
if grep -qi 'libmicrohttpd' "$tmp/err"; then skip 'built without libmicrohttpd'; fi
expect_rc 2
has_err 'address "999.1.1.1"'
if ! ${CC:-cc} -O1 -D_GNU_SOURCE -o "$tmp/client" tests/cases/http_client.c; then skip 'no C compiler for the test client'; fi

server=
cleanup='[ -z "$server" ] || kill -9 $server 2> /dev/null'
# start OPTIONS...: a server of its own; $port is where it listens; $pass: what begins it
pass=
start() {
    last="serve $*"
    : > "$tmp/log"
    $pass "$SPUTNIK" serve --port 0 "$@" > "$tmp/serve.out" 2> "$tmp/log" &
    server=$!
    ready
}
# ready: until it answers
ready() {
    port=
    for _ in $(seq 100); do
        port=$(sed -n 's/.* answers at .*:\([0-9]*\)\/$/\1/p' "$tmp/log")
        [ -n "$port" ] && return
        kill -0 $server 2> /dev/null || break
        sleep 0.2
    done
    cat "$tmp/log"
    exit 1
}
# stop [SIGNAL]: it must end well
stop() {
    kill -"${1:-TERM}" $server
    wait $server
    rc=$?
    server=
    last=stop
    expect_rc 0
}
client() { run "$tmp/client" "$port" "$@"; }
ask() { client ask "$@"; }
# settled: no reply is generated any more, soon
settled() {
    for _ in $(seq 50); do
        ask GET /health
        if grep -q '"running":0,"waiting":0' "$tmp/out"; then return; fi
        sleep 0.1
    done
    fail 'a reply is still being generated'
}
chat() { printf '{"model":"sputnik-nano","messages":[{"role":"user","content":"What is 2 plus 3?"}],"max_tokens":%s%s}' "$1" "${2:-}"; }
# A reply that does not end by itself before the context does.
endless=$(chat 900 ',"stream":true,"logit_bias":{"1":-100}')

echo 'addresses'
run "$SPUTNIK" serve --port 0 --host 0.0.0.0
expect_rc 2
has_err 'address 0.0.0.0 can be reached from other machines, and no API keys are demanded'
run "$SPUTNIK" serve --port 0 --tls-cert "$tmp/none"
expect_rc 2
has_err 'options --tls-cert and --tls-key go together'
run "$SPUTNIK" serve --port 0 --price 1/2
expect_rc 2
has_err 'option --price: found "1/2"'
for origin in https://a.example/ a.example 'https://'; do
    run "$SPUTNIK" serve --port 0 --cors "$origin"
    expect_rc 2
    has_err "option --cors: found \"$origin\", expected * or an origin"
done
run "$SPUTNIK" serve --port 0 --allow-host llm.example.org:443
expect_rc 2
has_err 'option --allow-host: found "llm.example.org:443", expected a name'
run "$SPUTNIK" serve --port 0 --max-body 0
expect_rc 2
has_err 'option --max-body: found "0", expected at least 1K'

echo 'a socket from the service manager'
pass="$tmp/client 0 pass 127.0.0.2 1 9"
start
pass=
has_log="answers at http://127.0.0.2:$port/"
grep -qF "$has_log" "$tmp/log" || fail "the log says not: $has_log"
stop
run "$tmp/client" 0 pass 0.0.0.0 1 9 "$SPUTNIK" serve
expect_rc 2
has_err 'address 0.0.0.0 can be reached from other machines'
run "$tmp/client" 0 pass 127.0.0.1 2 9 "$SPUTNIK" serve
expect_rc 2
has_err 'the service manager gives 2 sockets, one is supported'
run "$tmp/client" 0 pass 127.0.0.1 1 -1 "$SPUTNIK" serve
expect_rc 2
has_err 'no listening stream socket'

echo 'health, metrics, a reply, its log line'
start --alias deepseek-chat
[ "$(wc -l < "$tmp/log")" -eq 1 ] || fail 'more than one line at the start'
ask GET /health
has_out 'HTTP/1.1 200 OK'
has_out '{"status":"ok","model":"sputnik-nano","slots":8,"running":0,"waiting":0,'
has_out 'X-Content-Type-Options: nosniff'
has_out 'x-request-id: req-'
ask POST /v1/chat/completions "$(chat 40 | sed s/sputnik-nano/deepseek-chat/)"
has_out 'HTTP/1.1 200 OK'
has_out 'Content-Length: '
has_out '"finish_reason":"stop"'
ask POST /chat/completions "$(chat 40 ',"stream":true')"
has_out 'Content-Type: text/event-stream'
has_out 'data: [DONE]'
settled
ask GET /metrics
has_out 'sputnik_requests_total{route="/chat/completions",status="200"} 2'
has_out 'sputnik_first_token_seconds_count 1'
has_out 'sputnik_jobs_total 2'
sed -n '/chat/{p;q;}' "$tmp/log" > "$tmp/out"
has_out '"level":"info","event":"request","id":"req-'
has_out '"peer":"127.0.0.1","method":"POST","path":"/v1/chat/completions","status":200'
has_out '"prompt_tokens":15'
lacks_out 'plus'

echo 'guesses ahead change no reply'
many=$(printf '%s' "$(chat 300 ',"logit_bias":{"1":-100},"temperature":1,"seed":5,"logprobs":true,"top_logprobs":2')")
choices() { sed 's/.*"choices":\(.*\),"usage".*/\1/' "$tmp/out" | grep '"logprobs"' > "$1"; }
ask POST /v1/chat/completions "$many"
has_out 'HTTP/1.1 200 OK'
choices "$tmp/drafted"
[ -s "$tmp/drafted" ] || fail 'no choices'
ask GET /metrics
grep -q '^sputnik_drafted_tokens_total [1-9]' "$tmp/out" || fail 'nothing was guessed ahead'
has_out 'sputnik_accepted_tokens_total '
first=$server first_port=$port
start --speculate off
ask POST /v1/chat/completions "$many"
choices "$tmp/plain"
cmp -s "$tmp/plain" "$tmp/drafted" || fail 'guesses ahead change a reply'
ask GET /metrics
has_out 'sputnik_drafted_tokens_total 0'
stop
server=$first port=$first_port

echo 'the port is taken'
run "$SPUTNIK" serve --port "$port"
expect_rc 1
expect_err "sputnik: address 127.0.0.1, port $port: another program listens there (--port takes another)"

echo 'paths and methods'
ask GET /nowhere
has_out 'HTTP/1.1 404 '
has_out "there is nothing at '/nowhere'"
ask POST /v1/responses '{"model":"sputnik-nano","input":"x"}'
has_out 'HTTP/1.1 404 '
has_out 'Content-Type: application/json'
has_out "{\"error\":{\"message\":\"there is nothing at '/v1/responses'; there are /chat/completions, /completions, /models, "
has_out '/metrics","type":"invalid_request_error","param":null,"code":"not_found"}}'
ask DELETE /v1/chat/completions
has_out 'HTTP/1.1 405 '
has_out 'Allow: POST'
ask HEAD /health
has_out 'HTTP/1.1 200 OK'
lacks_out '"status"'
ask OPTIONS /v1/models '' 'Origin: http://elsewhere.example' 'Access-Control-Request-Method: GET'
has_out 'HTTP/1.1 403 '
lacks_out 'Access-Control'
ask GET /anthropic/v1/nothing
has_out '{"type":"error","error":{"type":"not_found_error",'

echo 'hosts and origins'
for host in localhost "127.0.0.1:$port" '[::1]:80' a.localhost 192.168.3.4; do
    ask GET /health '' "Host: $host"
    has_out 'HTTP/1.1 200 OK'
done
for host in evil.example localhost.evil.example 127.0.0.1.evil.example 'localhost:x' ''; do
    ask GET /health '' "Host: $host"
    has_out 'HTTP/1.1 403 '
done
printf 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n' > "$tmp/in"
stdin=$tmp/in client raw
has_out 'HTTP/1.1 400 '
printf 'GET /health HTTP/1.0\r\n\r\n' > "$tmp/in"
stdin=$tmp/in client raw
has_out '200 OK'
ask GET /health '' 'Host: localhost' 'Host: localhost'
has_out 'HTTP/1.1 400 '
ask POST /v1/chat/completions "$(chat 1)" 'Origin: http://evil.example'
has_out 'HTTP/1.1 403 '
has_out 'pages of '
ask POST /v1/chat/completions "$(chat 1)" "Origin: http://127.0.0.1:$port"
has_out 'HTTP/1.1 200 '

echo 'a client that goes away, one that stops sending: their replies end'
client leave /v1/chat/completions "$endless"
expect_rc 0
client half /v1/chat/completions "$endless"
expect_out closed
settled

echo 'SIGTERM lets a running reply finish'
"$tmp/client" "$port" ask POST /v1/chat/completions "$endless" > "$tmp/reply" &
reader=$!
for _ in $(seq 200); do [ -s "$tmp/reply" ] && break; sleep 0.02; done
stop
wait $reader
cp "$tmp/reply" "$tmp/out"
has_out 'data: [DONE]'
grep -q '"event":"stopping"' "$tmp/log" || fail 'the stop is not in the log'

echo 'while the model is being loaded'
slow=$tmp/slow # a model that is loaded when release says so
mkdir "$slow"
cp tests/golden/models/llama-plain/* tests/golden/tokenizers/tiny/* "$slow"
hold() { mkfifo "$slow/generation_config.json"; }
release() { timeout 20 sh -c 'exec > "$1" && rm "$1" && echo "{}"' sh "$slow/generation_config.json"; }
hold
"$SPUTNIK" serve "$slow" --port "$port" --api-name slow > "$tmp/serve.out" 2> "$tmp/log" &
server=$!
for _ in $(seq 100); do ask GET /health; [ "$rc" -eq 0 ] && break; sleep 0.1; done
has_out 'HTTP/1.1 503 '
has_out '{"status":"loading"}'
ask POST /v1/chat/completions "$(chat 1)"
has_out 'HTTP/1.1 503 '
has_out 'Retry-After: 5'
has_out '{"error":{"message":"the model is being loaded","type":"server_error","param":null,"code":"loading"}}'
ask POST /anthropic/v1/messages '{}'
has_out '{"type":"error","error":{"type":"overloaded_error","message":"the model is being loaded"}}'
ask GET /metrics
has_out 'HTTP/1.1 503 '
if grep -q 'answers at' "$tmp/log"; then fail 'it says that it answers'; fi
run timeout 20 "$SPUTNIK" serve "$slow" --port "$port" # whose model is not loaded either
expect_rc 1
expect_err "sputnik: address 127.0.0.1, port $port: another program listens there (--port takes another)"
run timeout 20 "$SPUTNIK" serve "$slow" --port 0 --log-file "$tmp/none/log"
expect_rc 1
has_err "log file \"$tmp/none/log\": No such file"
run timeout 20 "$SPUTNIK" serve "$slow" --port 0 --prefix-memory much
expect_rc 2
has_err 'option --prefix-memory'
release
ready
ask GET /health
has_out 'HTTP/1.1 200 OK'
has_out '{"status":"ok","model":"slow",'
ask GET /v1/models
has_out 'HTTP/1.1 200 OK'
stop
run "$SPUTNIK" serve "$tmp/none.gguf" --port "$port"
expect_rc 1
has_err "model \"$tmp/none.gguf\": No such file"

echo 'a socket from the service manager: clients wait while the model is being loaded'
hold
"$tmp/client" "$port" pass 127.0.0.1 1 9 "$SPUTNIK" serve "$slow" --api-name slow > "$tmp/serve.out" 2> "$tmp/log" &
server=$!
for _ in $(seq 100); do
    "$tmp/client" "$port" ask GET /v1/models > "$tmp/reply" 2> "$tmp/err" && break
    sleep 0.05 # nobody listens yet
done &
reader=$!
sleep 0.5
[ ! -s "$tmp/reply" ] || fail 'an answer before the model is there'
release
ready
wait $reader
cp "$tmp/reply" "$tmp/out"
has_out 'HTTP/1.1 200 OK'
stop

echo 'limits'
start --max-body 1M --max-connections 20 --request-timeout 3
client body 100000000
has_out 413
client body 1200000 chunked
has_out 413
client hold 40
has_out 503
sleep 3.6
client drip 50
has_out 'HTTP/1.1 408 '
has_out 'the request did not arrive in time'
stop INT

echo 'malformed requests'
start --request-timeout 2
client fuzz 400 "${SP_FUZZ_SEED:-1}"
expect_rc 0
if grep -q '^50[0-2]' "$tmp/out"; then fail 'errors of the server'; fi
ask GET /health
has_out '"status":"ok"'
deep=$(printf '%5000s' '' | tr ' ' '[')
ask POST /v1/chat/completions "$deep"
has_out 'HTTP/1.1 400 '
ask POST /v1/chat/completions "$(printf '{"model":"\377\376"}')"
has_out 'HTTP/1.1 400 '
stop

echo 'keys'
run "$SPUTNIK" keys add --store "$tmp/keys.db" --name test
if grep -qi 'sqlite' "$tmp/err"; then skip 'built without SQLite'; fi
key=$(grep -o 'sk-[A-Za-z0-9_-]*' "$tmp/out" | head -n 1)
start --keys "$tmp/keys.db" --host 0.0.0.0
ask GET /v1/models
has_out 'HTTP/1.1 401 '
has_out 'WWW-Authenticate: Bearer'
has_out '"code":"invalid_api_key"'
ask GET /v1/models '' 'Authorization: Bearer sk-wrong'
has_out 'HTTP/1.1 401 '
ask GET /v1/models '' "Authorization: Bearer $key"
has_out 'HTTP/1.1 200 '
ask GET /v1/models '' "x-api-key: $key"
has_out 'HTTP/1.1 200 '
ask GET /metrics
has_out 'HTTP/1.1 401 '
ask GET /health
has_out 'HTTP/1.1 200 '
grep -q '"key":"' "$tmp/log" || fail 'the key is not in the log'
if grep -qF "$key" "$tmp/log"; then fail 'the secret is in the log'; fi
stop

echo 'a file of options; what is given goes before'
printf '{"api-name": "one", "alias": ["two", "three"], "no-page": true, "slots": 3, "cors": "https://a.example", "log-file": "%s"}' \
    "$tmp/file.log" > "$tmp/serve.json"
start --config "$tmp/serve.json" --slots 2 --log-prompts
ask GET /health
has_out '"model":"one","slots":2,'
ask GET /
has_out 'HTTP/1.1 404 '
ask OPTIONS /v1/chat/completions '' 'Origin: https://a.example' 'Access-Control-Request-Headers: x-y'
has_out 'HTTP/1.1 204 '
has_out 'Access-Control-Allow-Origin: https://a.example'
has_out 'Access-Control-Allow-Headers: x-y'
ask POST /v1/chat/completions "$(chat 1 | sed s/sputnik-nano/three/)" 'Origin: https://a.example'
has_out 'HTTP/1.1 200 '
ask POST /v1/chat/completions "$(chat 1)" 'Origin: https://b.example'
has_out 'HTTP/1.1 403 '
stop
grep -q '"request":"{.*2 plus 3' "$tmp/file.log" || fail 'the prompt is not in the log'
printf '{"prot": 1}' > "$tmp/serve.json"
run "$SPUTNIK" serve --config "$tmp/serve.json"
expect_rc 2
has_err 'key "prot": serve has no such option'
printf '{"port": "x"}' > "$tmp/serve.json"
run "$SPUTNIK" serve --config "$tmp/serve.json"
expect_rc 2
has_err 'key "port": expected a number'
finish
