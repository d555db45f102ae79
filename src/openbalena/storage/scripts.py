"""The shell scripts of a move: POSIX sh and the commands that every service's image has (Debian's base or busybox).

Data is sent over TCP with perl if the image has it (perl-base is essential in Debian), otherwise with busybox `nc`. The
stream is one line with the checksum of the source's manifest, then a tar archive. The manifest has every name, type,
mode, owner, link target and the SHA-256 of every file.
"""

from openbalena.base.names import MOVE_MARK

# Exit code if the target volume already has live data.
OCCUPIED = 3
_PORT = 4711
# Attempts, one second apart, while the receiving task starts and its name becomes resolvable.
_TRIES = 120

_MANIFEST = f"""
set -eu
export LC_ALL=C
mkdir -p /tmp
manifest() {{
    cd "$1"
    find . ! -path ./{MOVE_MARK} -exec stat -c '%n %f %u %g' {{}} + >/tmp/names
    find . -type l -exec readlink {{}} \\; >/tmp/links
    find . -type f ! -path ./{MOVE_MARK} -exec sha256sum {{}} + >/tmp/sums
    sort /tmp/names /tmp/links /tmp/sums | sha256sum | cut -d ' ' -f 1
}}
with_perl() {{ perl -MIO::Socket::INET -e 1 2>/dev/null; }}
"""

# Without a connection `nc` fails before it reads any input, so it can be retried.
_SEND = f"""{_MANIFEST}
send() {{
    if with_perl; then
        perl -MIO::Socket::INET -e '
            my ($peer, $connection) = @ARGV;
            for (1 .. {_TRIES}) {{
                last if $connection = IO::Socket::INET->new(PeerAddr => $peer, PeerPort => {_PORT}, Timeout => 5);
                sleep 1;
            }}
            $connection or die "no connection to $peer\\n";
            while (my $count = sysread(STDIN, my $data, 65536)) {{
                for (my $done = 0; $done < $count;) {{
                    $done += syswrite($connection, $data, $count - $done, $done) // die "connection lost: $!\\n";
                }}
            }}
            shutdown($connection, 1);
            sysread($connection, my $end, 1);' "$1"
        return
    fi
    tries=0
    until nc "$1" {_PORT} 2>/tmp/nc; do
        tries=$((tries + 1))
        [ "$tries" -lt {_TRIES} ] || {{ cat /tmp/nc; return 1; }}
        sleep 1
    done
}}
rm -f /tmp/failed
sum=$(manifest /openbalena-volume)
cd /openbalena-volume
( echo "$sum"; tar -cf - . || echo failed >/tmp/failed ) | send RECEIVER
[ ! -e /tmp/failed ] || {{ echo "the volume could not be read"; exit 1; }}
"""

# Live data in the target is not touched. `sync` makes sure that the copy survives a crash of the node.
RECEIVE = f"""{_MANIFEST}
receive() {{
    if with_perl; then
        perl -MIO::Socket::INET -e '
            my $socket = IO::Socket::INET->new(LocalPort => {_PORT}, Listen => 1, ReuseAddr => 1, Timeout => {_TRIES})
                or die "cannot listen: $@\\n";
            my $connection = $socket->accept or die "no sender connected\\n";
            while (sysread($connection, my $data, 65536)) {{ print $data; }}'
    else
        # Input that never ends: at the end of its input nc would close the connection.
        rm -f /tmp/no-input
        mkfifo /tmp/no-input
        nc -l -p {_PORT} <>/tmp/no-input
    fi
}}
cd /openbalena-volume
if [ ! -e {MOVE_MARK} ] && [ -n "$(find . -mindepth 1 -maxdepth 1 ! -name lost+found)" ]; then
    echo "it already has data"
    exit {OCCUPIED}
fi
echo "a copy that is not in use" >{MOVE_MARK}
find . -mindepth 1 -maxdepth 1 ! -name {MOVE_MARK} ! -name lost+found -exec rm -rf {{}} +
receive | {{ read -r expected; echo "$expected" >/tmp/expected; tar -xpf -; }}
[ "$(manifest /openbalena-volume)" = "$(cat /tmp/expected)" ] || {{ echo "the checksums differ"; exit 1; }}
sync
"""

TAKE_INTO_USE = f"rm -f /openbalena-volume/{MOVE_MARK} && sync"
MARK_AS_OLD = f"echo 'a copy that is not in use' >/openbalena-volume/{MOVE_MARK} && sync"


def send(receiver: str) -> str:
    """The script that sends /openbalena-volume to the task of the service `receiver`."""
    return _SEND.replace("RECEIVER", receiver)
