//! The programs that are compared.

/// A program, as a script of `sh`; its first argument is a directory for its files.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The commands that must be installed.
    pub needs: &'static [&'static str],
    /// The script.
    pub script: &'static str,
}

impl Program {
    /// The program with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PROGRAMS.iter().find(|program| program.name == name)
    }
}

/// All of them.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "pipeline",
        needs: &["find", "sort", "wc"],
        script: "find /etc -name '*.conf' 2>/dev/null | sort -r | head -n 5 | wc -c >$1/count; cat <$1/count",
    },
    // More directories than the recorder remembers at a time.
    Program { name: "find", needs: &["find", "head"], script: "find /usr -xdev -type d | head -n 10000 | wc -l" },
    Program { name: "tar", needs: &["tar", "gzip"], script: "tar czf $1/x.tgz /etc/apt && mkdir $1/x && tar xzf $1/x.tgz -C $1/x" },
    Program {
        name: "files",
        needs: &["dd", "truncate", "ln", "stat"],
        script: "cd $1; dd if=/dev/zero of=a bs=4k count=16 conv=fsync; truncate -s 1M b; ln a c; ln -s a d; mv b e; \
                 chmod 600 e; touch -d 2020-01-01 e; stat d e; ls -la; df .; sync -f a; rm -r a c d e; true",
    },
    Program {
        name: "python",
        needs: &["python3"],
        script: "exec python3 -c '
import fcntl, mmap, os, select, signal, socket, subprocess, threading, time
server = socket.socket(); server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((\"127.0.0.1\", 0)); server.listen()
client = socket.create_connection(server.getsockname()); client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
peer, _ = server.accept(); client.send(b\"x\"); peer.recv(1); peer.shutdown(socket.SHUT_WR)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); udp.bind((\"::1\", 0)); udp.sendto(b\"y\", udp.getsockname()); udp.recvfrom(9)
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0)); socket.socketpair()
subprocess.run([\"true\"]); threads = [threading.Thread(target=time.sleep, args=(.01,)) for _ in range(4)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
with open(\"/proc/self/status\") as status: fcntl.fcntl(status, fcntl.F_GETFL); status.read()
with open(\"/dev/shm/ktape-fidelity\", \"w+\") as file:
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK); fcntl.flock(file, fcntl.LOCK_EX); os.truncate(file.fileno(), 8192)
    memory = mmap.mmap(file.fileno(), 4096); memory.madvise(mmap.MADV_DONTNEED); memory.flush(); os.unlink(file.name)
epoll = select.epoll(); epoll.register(server.fileno(), select.EPOLLIN); epoll.poll(.001)
poll = select.poll(); poll.register(server.fileno()); poll.poll(1); select.select([server], [], [], .001)
os.pipe2(os.O_CLOEXEC); os.memfd_create(\"x\", os.MFD_CLOEXEC); os.eventfd(1); os.kill(os.getpid(), 0); os.umask(0o22)
os.statvfs(\"/\"); os.access(\"/etc\", os.R_OK); os.getpriority(os.PRIO_PROCESS, 0); os.sched_getaffinity(0); os.times()
signal.setitimer(signal.ITIMER_REAL, 5); signal.setitimer(signal.ITIMER_REAL, 0); os.getrandom(4, os.GRND_NONBLOCK)
'",
    },
    Program {
        name: "gcc",
        needs: &["gcc"],
        script: "echo 'int main(void) { return 0; }' >$1/a.c && gcc -O1 -o $1/a $1/a.c && $1/a",
    },
    Program {
        name: "git",
        needs: &["git"],
        script: "cd $1; git init -q a && cd a && echo x >f && git add f && git -c user.name=x -c user.email=x@x commit -qm x && \
                 git clone -q . ../b && git -C ../b log --stat | cat",
    },
    Program {
        name: "sqlite",
        needs: &["sqlite3"],
        script: "sqlite3 $1/x.db 'create table t (a); insert into t values (1), (2); update t set a = a + 1; select sum(a) from t; vacuum'",
    },
    Program {
        name: "curl",
        needs: &["curl", "python3"],
        script: "cd $1; echo hello >f; python3 -c 'import http.server as h
server = h.HTTPServer((\"127.0.0.1\", 0), h.SimpleHTTPRequestHandler); print(server.server_port, flush=True); server.handle_request()' >port 2>log & \
                 while ! [ -s port ]; do :; done; curl -s http://127.0.0.1:$(cat port)/f; wait",
    },
    Program { name: "node", needs: &["node"], script: "exec node -e 'require(\"fs\").readFileSync(\"/etc/passwd\"); setTimeout(() => {}, 5)'" },
    Program {
        name: "java",
        needs: &["java"],
        script: "echo 'class A { public static void main(String[] a) { System.out.println(1); } }' >$1/A.java; java $1/A.java",
    },
    Program {
        name: "descriptors",
        needs: &["python3"],
        script: concat!("cat >$1/kinds.py <<'END'\n", include_str!("kinds.py"), "END\nexec python3 $1/kinds.py $1"),
    },
    Program {
        name: "32-bit",
        needs: &["gcc"],
        script: concat!(
            "cat >$1/a.c <<'END'\n",
            include_str!("compat.c"),
            "END\ngcc -m32 -nostdlib -static -fno-pie -no-pie -fno-stack-protector -o $1/a $1/a.c && exec $1/a $1/file"
        ),
    },
    Program {
        name: "nginx",
        needs: &["nginx", "curl"],
        script: "cd $1; chmod 755 .; echo hello >f; echo 'daemon off; user root; worker_processes 2; pid pid; events {} http { access_log log; server \
                 { listen unix:socket; root .; location /proxy/ { proxy_pass http://unix:socket:/; } } }' >conf; \
                 nginx -p $1 -c $1/conf -e $1/errors & while ! [ -S socket ]; do :; done; \
                 for i in 1 2 3; do curl -s --unix-socket socket http://x/f http://x/proxy/f http://x/none & done; sleep .3; \
                 kill -QUIT $(cat pid); wait",
    },
    Program {
        name: "redis",
        needs: &["redis-server", "redis-cli"],
        script: "cd $1; redis-server --port 0 --unixsocket socket --dir $1 --appendonly yes --save '' >log & \
                 while ! redis-cli -s socket ping >pong 2>&1; do sleep .05; done; \
                 for i in 1 2 3; do redis-cli -s socket set k$i v; done; redis-cli -s socket bgrewriteaof; redis-cli -s socket shutdown; wait",
    },
    // Calls that other programs rarely make, many of which fail.
    Program {
        name: "stress-ng",
        needs: &["stress-ng"],
        script: "cd $1; for s in access affinity alarm bind-mount brk cap chattr chmod chown chroot clock clone dev-shm dir \
                 dnotify dup env exec fallocate fifo file-ioctl flock fork fstat futex get getdent getrandom io itimer kill \
                 lease lockf lockofd membarrier mlock mprotect mremap msg msync mutex nanosleep netlink-task nice numa open pidfd \
                 pipe pkey poll prctl quota readahead rename rlimit schedpolicy seal seccomp seek sem-sysv sendfile session set \
                 shm sigchld sigfd sigpending sigq sigrt sigsuspend sigtrap sockdiag sockfd splice sync-file sysinfo tee timer \
                 touch tun udp unshare userfaultfd utime vfork vm-rw vm-splice wait xattr zombie; \
                 do timeout 5 stress-ng --$s 1 --$s-ops 1 -t 1 --no-rand-seed --temp-path . >/dev/null 2>&1; done; true",
    },
    Program {
        name: "container",
        needs: &["busybox", "unshare", "pivot_root", "mount"],
        script: "mkdir $1/root; unshare -mpfui sh -ec 'mount -t tmpfs root $1; cd $1; mkdir bin old tmp; cp $(command -v busybox) bin; \
                 mount -t tmpfs tmp tmp; pivot_root . old; exec bin/busybox sh -c \"bin/busybox umount -l old; echo x >/tmp/f; \
                 cd tmp; bin/busybox ls; /bin/busybox cat f; /bin/busybox mv f g; /bin/busybox find / -xdev | /bin/busybox wc -l\"' sh $1/root",
    },
];
