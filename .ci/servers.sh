# Sourced by run: makes sure PostgreSQL, MariaDB and Redis answer. Where one does
# not, it is installed from the distribution's packages and started on a free
# loopback port with a data folder of its own. stop_servers ends only those.

servers_dir=""
server_pids=()

stop_servers() {
  local pid
  for pid in "${server_pids[@]:-}"; do
    if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; fi
  done
  sleep 1
  if [ -n "$servers_dir" ]; then rm -rf "$servers_dir"; fi
}

install_package() {
  echo "    installing $1"
  apt-get update -qq >/dev/null
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null ||
    echo $((20000 + RANDOM % 20000))
}

answers() { # host port
  (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null
}

wait_for() { # port name
  local i
  for i in $(seq 1 100); do
    if answers 127.0.0.1 "$1"; then return 0; fi
    sleep 0.2
  done
  echo "$2 did not start on port $1" >&2
  return 1
}

# host_port takes HOST and PORT out of an address or URL.
host_port() { # address default-port
  local a=${1#*://}
  a=${a#*@}
  a=${a#tcp(}
  a=${a%%/*}
  a=${a%%\?*}
  a=${a%)}
  case $a in
    *:*) echo "${a%%:*} ${a##*:}" ;;
    *) echo "$a $2" ;;
  esac
}

start_postgres() {
  local bin port data
  bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
  if [ -z "$bin" ]; then
    install_package postgresql
    bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
  fi
  port=$(free_port)
  data=$servers_dir/postgres
  mkdir -p "$data"
  chown postgres "$servers_dir" "$data"
  su postgres -c "$bin/initdb -A trust -U postgres -D $data >/dev/null"
  su postgres -c "exec $bin/postgres -D $data -h 127.0.0.1 -p $port -k $data" >"$servers_dir/postgres.log" 2>&1 &
  server_pids+=($!)
  wait_for "$port" PostgreSQL
  local i
  for i in $(seq 1 50); do
    if su postgres -c "$bin/psql -h 127.0.0.1 -p $port -U postgres -c 'CREATE DATABASE test'" >/dev/null 2>&1; then break; fi
    sleep 0.2
  done
  export INTEGRATIONS_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/test?sslmode=disable"
}

start_mysql() {
  local port data
  command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || install_package mariadb-server
  port=$(free_port)
  data=$servers_dir/mysql
  mkdir -p "$data"
  mariadb-install-db --no-defaults --user=mysql --auth-root-authentication-method=normal --datadir="$data" >/dev/null 2>&1
  chown -R mysql "$data"
  chmod 755 "$servers_dir"
  PATH=$PATH:/usr/sbin mariadbd --no-defaults --user=mysql --datadir="$data" --bind-address=127.0.0.1 --port="$port" --socket="$data/s.sock" >"$servers_dir/mysql.log" 2>&1 &
  server_pids+=($!)
  wait_for "$port" MariaDB
  mariadb --no-defaults -h 127.0.0.1 -P "$port" -u root -e 'CREATE DATABASE IF NOT EXISTS test'
  export INTEGRATIONS_TEST_MYSQL="root@tcp(127.0.0.1:$port)/test"
}

start_redis() {
  local port
  command -v redis-server >/dev/null || install_package redis-server
  port=$(free_port)
  redis-server --port "$port" --bind 127.0.0.1 --save "" --appendonly no --dir "$servers_dir" >"$servers_dir/redis.log" 2>&1 &
  server_pids+=($!)
  wait_for "$port" Redis
  export INTEGRATIONS_TEST_REDIS="127.0.0.1:$port"
}

ensure_servers() {
  servers_dir=$(mktemp -d)
  chmod 755 "$servers_dir"
  : "${INTEGRATIONS_TEST_POSTGRES:=postgres://postgres@127.0.0.1:5432/test?sslmode=disable}"
  : "${INTEGRATIONS_TEST_MYSQL:=root@tcp(127.0.0.1:3306)/test}"
  : "${INTEGRATIONS_TEST_REDIS:=127.0.0.1:6379}"
  export INTEGRATIONS_TEST_POSTGRES INTEGRATIONS_TEST_MYSQL INTEGRATIONS_TEST_REDIS
  # shellcheck disable=SC2046
  answers $(host_port "$INTEGRATIONS_TEST_POSTGRES" 5432) || start_postgres
  # shellcheck disable=SC2046
  answers $(host_port "$INTEGRATIONS_TEST_MYSQL" 3306) || start_mysql
  # shellcheck disable=SC2046
  answers $(host_port "$INTEGRATIONS_TEST_REDIS" 6379) || start_redis
  echo "    PostgreSQL: $INTEGRATIONS_TEST_POSTGRES"
  echo "    MariaDB:    $INTEGRATIONS_TEST_MYSQL"
  echo "    Redis:      $INTEGRATIONS_TEST_REDIS"
}
