import CFabric

/// What UCX says of a call.
enum UCXStatus {
    /// Throws a status in UCX's own words, unless it is `UCS_OK`.
    static func check(
        _ call: @autoclosure () -> String, _ status: ucs_status_t
    ) throws(TransportError) {
        guard status == UCS_OK else { throw .call(call(), status: text(status)) }
    }

    /// UCX's own words for a status.
    static func text(_ status: ucs_status_t) -> String {
        unsafe String(cString: ucs_status_string(status))
    }
}
