import CFabric
import Topology

extension UCXState {
    /// Gives up on a rank, and tells the others of this process.
    func lose(_ peer: Rank, cause: String) {
        abandon(peer)
        outside.losses.add(peer, cause: cause)
        outside.control.ring()
    }

    /// Gives up on a rank: what is posted to it no longer counts (invariant 2).
    func abandon(_ peer: Rank) {
        let index = peer.rawValue
        guard !isGone[index] else { return }
        isGone[index] = true
        outstanding[index] = 0
        if let endpoint = unsafe endpoints[index] { unsafe failed.append(endpoint) }
        unsafe endpoints[index] = nil
        outside.control.ring()
    }

    /// Closes the endpoints of lost ranks; not inside a callback of theirs.
    func closeFailed() {
        while let endpoint = unsafe failed.popLast() { unsafe close(endpoint) }
    }

    /// Closes at once what is still open, at the end.
    func closeAll() {
        closeFailed()
        for index in 0 ..< rankCount {
            if let endpoint = unsafe endpoints[index] { unsafe close(endpoint) }
            unsafe endpoints[index] = nil
            isGone[index] = true
        }
        for _ in 0 ..< 100 where worker.progress() {}
    }

    func close(_ endpoint: ucp_ep_h) {
        var parameters = unsafe ucp_request_param_t()
        unsafe parameters.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS.rawValue
        unsafe parameters.flags = UCP_EP_CLOSE_FLAG_FORCE.rawValue
        let request = unsafe ucp_ep_close_nbx(endpoint, &parameters)
        if unsafe fabric_request_is_pending(request) { unsafe ucp_request_free(request) }
    }

    func endpointFailed(_ endpoint: ucp_ep_h?, _ status: ucs_status_t) {
        guard let index = unsafe endpoints.firstIndex(where: { unsafe $0 == endpoint }) else {
            return
        }
        let peer = Rank(rawValue: index)
        // Who said good-bye may end its connection.
        if outside.losses.hasLeft(peer) { return abandon(peer) }
        lose(peer, cause: statusText(status))
    }

    /// Loses the ranks that were silent longer than `limit` nanoseconds.
    func loseSilent(limit: UInt64, now: UInt64, trustedSince: UInt64) {
        for index in 0 ..< rankCount where unsafe endpoints[index] != nil {
            let peer = Rank(rawValue: index)
            if outside.losses.hasLeft(peer) { continue }
            let last = max(heard[index], trustedSince)
            if now > last, now - last > limit {
                lose(peer, cause: "silent for \(Duration.nanoseconds(Int64(limit)))")
            }
        }
    }
}
