/* Prints the addresses of each host as getaddrinfo of the C library gives them: one line a host, an error in words. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
        int error = getaddrinfo(argv[i], NULL, &hints, &found);
        if (error) {
            puts(error == EAI_NONAME ? "EAI_NONAME" : gai_strerror(error));
            continue;
        }
        for (struct addrinfo *one = found; one; one = one->ai_next) {
            char text[INET6_ADDRSTRLEN];
            const void *address = one->ai_family == AF_INET6
                ? (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr
                : (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr;
            printf("%s ", inet_ntop(one->ai_family, address, text, sizeof text));
        }
        puts("");
        freeaddrinfo(found);
    }
}
