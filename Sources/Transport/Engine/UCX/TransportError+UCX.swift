import CFabric

/// Throws the status of a UCX call, in UCX's own words, unless it is `UCS_OK`.
func check(_ call: @autoclosure () -> String, _ status: ucs_status_t) throws(TransportError) {
    guard status == UCS_OK else { throw .call(call(), status: statusText(status)) }
}

/// UCX's own words for a status.
func statusText(_ status: ucs_status_t) -> String {
    unsafe String(cString: ucs_status_string(status))
}
