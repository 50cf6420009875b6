"""Uses descriptors of many kinds, in threads; argument 1 is a directory."""
import ctypes, mmap, os, select, signal, socket, sys, threading, time

os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)


def thread(work):
    made = threading.Thread(target=work)
    made.start()
    return made


def unix():
    for name in ("stream", "\0ktape %d" % os.getpid()):
        server = socket.socket(socket.AF_UNIX)
        server.bind(name)
        server.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect(name)
        peer, _ = server.accept()
        client.send(b"x")
        peer.recv(1)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.bind("datagrams")
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect("datagrams")
    sender.send(b"x")
    bound.recv(1)
    one, other = socket.socketpair()
    with open("passed", "w") as file:
        socket.send_fds(one, [b"x"], [file.fileno()])
    _, fds, _, _ = socket.recv_fds(other, 1, 1)
    os.write(fds[0], b"x")


def inet():
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        server = socket.create_server((address, 0), family=family)
        client = socket.socket(family)
        client.setblocking(False)
        client.connect_ex(server.getsockname())
        peer, _ = server.accept()
        select.select([], [client], [])
        client.send(b"x")
        peer.recv(1)
        peer.shutdown(socket.SHUT_RDWR)
        client.setblocking(True)
        client.recv(1)
        client.close()
        peer.close()
        bound = socket.socket(family, socket.SOCK_DGRAM)
        bound.bind((address, 0))
        sender = socket.socket(family, socket.SOCK_DGRAM)
        sender.sendto(b"x", bound.getsockname())
        sender.connect(bound.getsockname())
        sender.send(b"x")
        bound.recv(1)
        bound.recv(1)


def anonymous():
    epoll = select.epoll()
    event = libc.eventfd(1, 0)
    timer = libc.timerfd_create(time.CLOCK_MONOTONIC, 0)
    watch = libc.inotify_init1(0)
    child = os.fork()
    if child == 0:
        signal.pause()
    process = os.pidfd_open(child)
    signals = libc.signalfd(-1, ctypes.create_string_buffer(128), 0)
    memory = os.memfd_create("memory")
    read, write = os.pipe()
    for fd in (event, timer, watch, process, signals, read):
        epoll.register(fd, select.EPOLLIN)
    os.write(event, b"\1" + bytes(7))
    os.read(event, 8)
    os.write(memory, b"x" * 4096)
    mmap.mmap(memory, 4096).close()
    libc.inotify_add_watch(watch, b".", 2)
    signal.pidfd_send_signal(process, signal.SIGKILL)
    epoll.poll(1)
    os.waitid(os.P_PIDFD, process, os.WEXITED)
    os.write(write, b"x")
    os.read(read, 1)
    for fd in (epoll.fileno(), event, timer, watch, process, signals, memory, read, write):
        os.fstat(fd)
        os.close(os.dup(fd))


def files():
    os.mkfifo("fifo")
    fifo = os.open("fifo", os.O_RDWR)
    os.write(fifo, b"x")
    os.read(fifo, 1)
    os.mkdir("from")
    file = os.open("from/file", os.O_RDWR | os.O_CREAT)
    directory = os.open("from", os.O_RDONLY)
    os.rename("from/file", "from/renamed <\t>")
    os.write(file, b"x")
    os.stat("renamed <\t>", dir_fd=directory)
    os.unlink("renamed <\t>", dir_fd=directory)
    os.pread(file, 1, 0)
    os.fchdir(directory)
    nameless = os.open("..", os.O_RDWR | os.O_TMPFILE)
    os.write(nameless, b"x")
    os.sendfile(nameless, file, 0, 1)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, file)
    os.write(file, b"x")
    tree = os.open("/proc/self/fd", os.O_RDONLY)
    os.listdir(tree)
    os.readlink(str(tree), dir_fd=tree)
    os.close(os.open("/proc/self/ns/net", os.O_RDONLY))
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    netlink.bind((0, 0))
    netlink.getsockname()


for work in [thread(unix), thread(inet), thread(anonymous)]:
    work.join()
files()
