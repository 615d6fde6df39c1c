/// What a host runs to receive programs: a POSIX shell with Debian's coreutils, findutils and
/// flock.
///
/// The script names the host's architecture and reads an order (`ProgramPackage.order`). A folder
/// that holds the programs by their digest is named; else the script says how many bytes it has,
/// takes the rest from standard input, checks the digest, and renames the whole folder into its
/// place. A transfer that was cut is continued by the next. Hosts that share the folder take turns
/// by a lock, and the first does the work for all.
///
/// Every line of an answer begins with `mark`, because shells print lines of their own at the
/// start.
enum HostScript {
    /// What answers begin with.
    static let mark = "apus-programs"

    /// Programs of other builds that stay, the last used first.
    private static let kept = 4
    /// Whole days after which others go: the next launch removes them, unless they run there.
    private static let keptDays = 7
    /// Two seconds each: what changes nothing for ten minutes is given up.
    private static let mostWaits = 300

    /// The command for ssh: one line, whichever shell the user has there.
    static var command: String { "exec sh -c " + HostConnection.quoted(text) }

    /// The script, without a quotation mark or a line break that a shell around it would read.
    static var text: String { (functions + receiving).joined(separator: "; ") }

    private static let functions = [
        "umask 077",
        "d=${XDG_CACHE_HOME:-$HOME/.cache}/apus/programs",
        "say() { echo \"\(mark) $*\"; }",
        "fail() { say bad \"$*\"; exit 0; }",
        "sum() { cat \"$@\" | sha256sum | cut -c1-64; }",
        "known() { [ -d \"$s\" ] && [ \"$(cd \"$s\" && sum $parts 2>&1)\" = \"$digest\" ]; }",
        // What a process of this host runs stays. Other hosts that share the folder note what they
        // run (`HostPrograms.noteUse`).
        "prune() { cd \"$d\"; for old in $(ls -t | grep -E \"^[0-9a-f]{64}$\" | tail -n"
            + " +\(kept + 1)); do [ -n \"$(find $old -prune -mtime +\(keptDays - 1))\" ] ||"
            + " continue; readlink /proc/[0-9]*/exe 2>/dev/null | grep -q /$old/ ||"
            + " rm -rf $old $old.lock; done; find . -maxdepth 1 -name \"*.part\""
            + " -mtime +\(keptDays - 1) -delete; }",
        "used() { touch \"$s\"; prune; say at \"$s\"; exit 0; }",
        // Bytes that arrive, and a turn that another host takes, change what is seen.
        "turn() { n=0; seen=; until flock -w 2 9; do [ $? -eq 1 ] ||"
            + " fail \"$s.lock cannot be locked\"; now=$(stat -c %s%Y \"$p\" \"$s.lock\""
            + " 2>/dev/null); [ \"$now\" = \"$seen\" ] || n=0; seen=$now; n=$((n + 1));"
            + " [ $n -lt \(mostWaits) ] || fail \"another launch holds $s.lock and sends nothing:"
            + " end it\"; say waits; done; touch \"$s.lock\"; }",
    ]

    private static let receiving = [
        "for tool in sha256sum flock head tail find readlink; do command -v $tool >/dev/null ||"
            + " fail \"there is no $tool\"; done",
        "say is $(uname -m)",
        "read -r mode digest total first parts || exit 0",
        "s=$d/$digest; p=$s.part; have=0",
        "if [ $mode = send ]; then mkdir -p \"$d\" 2>/dev/null; [ -w \"$d\" ] ||"
            + " fail \"$d cannot be written\"; exec 9>>\"$s.lock\"; turn; fi",
        "if known; then [ $mode = send ] && used; say at \"$s\"; exit 0; fi",
        "if [ -f \"$p\" ]; then have=$(wc -c <\"$p\"); fi",
        "if [ $have -gt $total ]; then have=0; if [ $mode = send ]; then rm -f \"$p\"; fi; fi",
        "say need $have",
        "[ $mode = send ] || exit 0",
        "rm -rf \"$s\" \"$s.new\"",
        "why=$(head -c $((total - have)) 2>&1 >>\"$p\")",
        "have=$(wc -c <\"$p\")",
        "[ $have -eq $total ] || fail \"$have of $total bytes are in $p: $why\"",
        "[ $(sum \"$p\") = $digest ] || { rm -f \"$p\";"
            + " fail \"what arrived has another digest and was removed: launch again\"; }",
        "mkdir \"$s.new\" || fail \"$s.new cannot be made\"",
        "if [ \"$parts\" = apus ]; then mv \"$p\" \"$s.new/apus\" && ln -s apus"
            + " \"$s.new/apus-worker\"; else head -c $first \"$p\" >\"$s.new/apus\" &&"
            + " tail -c +$((first + 1)) \"$p\" >\"$s.new/apus-worker\"; fi ||"
            + " fail \"$s.new cannot be written\"",
        "chmod 755 \"$s.new\"/apus*",
        "mv \"$s.new\" \"$s\" || fail \"$s cannot be made\"",
        "rm -f \"$p\"",
        "used",
    ]
}
