import CFabric

/// The UCX that this program runs with.
public enum UCXLibrary {
    /// As the library says it: `1.13.1`.
    public static var version: String {
        unsafe ucp_get_version_string().map { unsafe String(cString: $0) } ?? "unknown"
    }
}
