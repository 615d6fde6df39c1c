// The three programs are one file in a package: they share nearly all their code, and the Swift
// runtime is most of its size. The name by which the file is called chooses the program.
#include <string.h>

int apus_main(int, char **);
int apus_coordinator_main(int, char **);
int apus_worker_main(int, char **);

int main(int count, char **words) {
    const char *slash = strrchr(words[0], '/');
    const char *name = slash ? slash + 1 : words[0];
    if (strcmp(name, "apus-coordinator") == 0) return apus_coordinator_main(count, words);
    if (strcmp(name, "apus-worker") == 0) return apus_worker_main(count, words);
    return apus_main(count, words);
}
