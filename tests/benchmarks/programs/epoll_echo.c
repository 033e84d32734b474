/* An echo server in C: one thread, epoll, level-triggered. Sends back what comes. Prints its port.
 *
 * The floor: what the kernel's part of an answer costs, with next to nothing around it. It cuts no lines. A peer
 * that does not read its answers is cut off, as nothing is kept for it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void check(int is_right, const char *what) {
    if (!is_right) {
        perror(what);
        exit(1);
    }
}

static void accept_one(int listener, int poll) {
    int one = 1;
    int connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection < 0) {
        check(errno == EAGAIN || errno == ECONNABORTED, "accept4");
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = connection};
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    check(epoll_ctl(poll, EPOLL_CTL_ADD, connection, &event) == 0, "epoll_ctl");
}

static void echo(int connection) {
    static char buffer[1 << 16];
    ssize_t length = recv(connection, buffer, sizeof buffer, 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0 || send(connection, buffer, (size_t)length, MSG_NOSIGNAL) != length) close(connection);
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[1024], event = {.events = EPOLLIN, .data.fd = listener};
    check(listener >= 0 && poll >= 0, "socket");
    check(bind(listener, (struct sockaddr *)&address, size) == 0, "bind");
    check(listen(listener, 1024) == 0, "listen");
    check(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    check(epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event) == 0, "epoll_ctl");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poll, events, 1024, -1);
        check(count >= 0 || errno == EINTR, "epoll_wait");
        for (int index = 0; index < count; index++) {
            if (events[index].data.fd == listener) accept_one(listener, poll);
            else echo(events[index].data.fd);
        }
    }
}
