#define _POSIX_C_SOURCE 200809L

#include <signal.h>
#include <stddef.h>

// UCX's library takes SIGHUP while it is loaded, also where `nohup` has it ignored. Before any
// library begins the program notes how SIGHUP was, and once all have begun it is so again.

// Volatile, or the compiler would run `restore` itself, before `note`.
static volatile int is_ignored;

static void note(void) {
    struct sigaction now;
    is_ignored = sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

__attribute__((section(".preinit_array"), used)) static void (*const before_libraries)(void) = note;

__attribute__((constructor)) static void restore(void) {
    if (is_ignored) signal(SIGHUP, SIG_IGN);
}
