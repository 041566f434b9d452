"""Runs a command in namespaces of its own where every name is asked of a server that never answers.

unshare -rmn python3 silent_dns.py FILE COMMAND…: FILE comes into being with the first question.
"""
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile

SIOCSIFFLAGS, UP_AND_RUNNING = 0x8914, 0x41

asked, command = sys.argv[1], sys.argv[2:]
with tempfile.NamedTemporaryFile("w") as resolv:
    resolv.write("nameserver 127.0.0.53\n")
    resolv.flush()
    subprocess.run(["mount", "--bind", resolv.name, "/etc/resolv.conf"], check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(server, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", UP_AND_RUNNING))
server.bind(("127.0.0.53", 53))

parent = os.getpid()
if os.fork():
    server.close()
    os.execvp(command[0], command)
for stream in 0, 1, 2:  # who waits for the command's output waits for the command alone
    os.dup2(os.open(os.devnull, os.O_RDWR), stream)
server.settimeout(0.1)
while os.getppid() == parent:
    try:
        server.recv(4096)
        open(asked, "w").close()
    except TimeoutError:
        pass
