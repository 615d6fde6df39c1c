import NIOCore
import Topology

/// What observers ask.
extension CoordinatorCore {
    /// Answers an observer's question about the placement of experts, or its request.
    func answer(_ frame: ControlFrame, to id: ConnectionID) {
        guard observers.contains(id) else {
            return refuse(id, "only observers ask for placements")
        }
        if case .place(let request) = frame {
            let present = membership.placementReport(now: Self.now).groups
            let reason =
                present.indices.contains(request.group)
                    && present[request.group].epoch != request.epoch
                ? "the placements are for epoch \(request.epoch): the group is in"
                    + " \(present[request.group].epoch)"
                : membership.refusal(of: request.placements, group: request.group)
            if let reason { return send(.notPlaced(reason: reason), to: id) }
            apply(.place(request.placements, group: request.group))
        }
        send(.placement(membership.placementReport(now: Self.now)), to: id)
    }

    /// Tells an observer who gives the model's files: ranks that are in, and this process.
    func tellWeights(to id: ConnectionID) {
        guard observers.contains(id) else { return refuse(id, "only observers ask for weights") }
        let ranks = sources.filter { membership.rank(of: $0.key) != nil }
            .sorted { $0.key.rawValue < $1.key.rawValue }.map(\.value)
        let own = weightPort.map { [[Endpoint(address: "", port: $0)]] } ?? []
        send(.weights(ranks + own), to: id)
    }

    /// Has a trace taken for an observer, which is told when it is there.
    func trace(_ seconds: Int, for id: ConnectionID) {
        guard observers.contains(id), let channel = channels[id] else {
            return refuse(id, "only observers ask for traces")
        }
        handlers.traceAsked(seconds) { answer in
            let frame: ControlFrame =
                switch answer {
                case .success(let file): .traced(file: file)
                case .failure(let error): .notTraced(reason: error.description)
                }
            channel.writeAndFlush(frame, promise: nil)
        }
    }
}
