"""One connection that says lines, or a server that says them back. Tells on standard output
what happens, and ends with its input."""
import socket
import sys
import threading

# linux/in.h: it answers as whoever was meant.
IP_TRANSPARENT = 19

def serve(port):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    server.bind(("0.0.0.0", port))
    server.listen(64)
    threading.Thread(target=accept, args=(server,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


def accept(server):
    while True:
        connection, _ = server.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def echo(connection):
    # Who speaks first tells under which address it answers: the one that was meant.
    with connection:
        connection.sendall(f"{connection.getsockname()[0]}\n".encode())
        while received := connection.recv(65536):
            connection.sendall(received)


def say(address, port):
    connection = socket.create_connection((address, port), timeout=20)
    lines = connection.makefile("rwb")
    print("connected", lines.readline().decode().strip(), flush=True)
    for line in sys.stdin:
        lines.write(line.encode())
        lines.flush()
        back = lines.readline().decode()
        print("same" if back == line else "cut", flush=True)


try:
    serve(int(sys.argv[2])) if sys.argv[1] == "serve" else say(sys.argv[2], int(sys.argv[3]))
except OSError as error:
    print("cut", error, flush=True)
