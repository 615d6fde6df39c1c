package import Pipeline
import Topology

/// The plans that no other plan beats in both time and tokens per second of a rank.
package struct Recommendation: Codable, Sendable {
    /// Plans that were tried.
    package private(set) var tried = 0
    /// Those that fit the model, the cluster's ranks and their memory.
    package private(set) var fitting = 0
    /// Those of them that reach the target.
    package private(set) var reaching = 0
    /// The Pareto set, the fastest answer first.
    package private(set) var candidates: [Candidate] = []

    /// Searches EP x PP x DP x TP x redundancy x batch around a request, whose other fields stay.
    ///
    /// - Throws: `PlanError` where the topology file lacks what every plan needs, or no plan fits.
    package init(_ request: PlanRequest, target: SearchTarget) throws(PlanError) {
        var found: [Candidate] = []
        var first: PlanError?
        for attempt in Self.attempts(request) {
            tried += 1
            let candidate: Candidate?
            do { candidate = try Self.candidate(attempt, target) } catch {
                if case .topology = error { throw error }
                first = first ?? error
                continue
            }
            fitting += 1
            if let candidate { found.append(candidate) }
        }
        if fitting == 0, let first { throw first }
        reaching = found.count
        candidates = Self.pareto(found)
    }

    /// Sorted by time; a plan stays when it brings more tokens than all faster ones.
    static func pareto(_ found: [Candidate]) -> [Candidate] {
        var best: [Candidate] = []
        let sorted = found.sorted {
            ($0.seconds, -$0.tokensPerSecondPerRank, $0.ranks, $0.batch)
                < ($1.seconds, -$1.tokensPerSecondPerRank, $1.ranks, $1.batch)
        }
        for one in sorted
        where one.tokensPerSecondPerRank > best.last?.tokensPerSecondPerRank ?? 0 {
            best.append(one)
        }
        return best
    }

    private static func attempts(_ request: PlanRequest) -> [PlanRequest] {
        let all = request.map.rankCount
        let model = request.model
        let perNode = request.map.nodes.map(\.ranks).max() ?? 1
        let powers = (0 ..< 17).map { 1 << $0 }
        let sizes = Set(powers + powers.map { 9 * $0 } + [all]).sorted().filter { $0 <= all }
        let batches = request.phase == .train ? [request.batch] : powers.filter { $0 <= 1024 }
        var attempts: [PlanRequest] = []
        for tp in powers.prefix(4) where model.heads.isMultiple(of: tp) && tp <= max(1, perNode) {
            for pp in powers.prefix(5) where pp <= model.layers {
                for size in sizes where size.isMultiple(of: tp) && size * pp <= all {
                    let groups = Self.expertGroups(size, request, pp: pp)
                    for (ep, redundant) in groups {
                        for batch in batches {
                            var one = request
                            (one.tp, one.pp, one.dp, one.ep) = (tp, pp, size / tp, ep)
                            (one.redundantExperts, one.batch) = (redundant, batch)
                            attempts.append(one)
                        }
                    }
                }
            }
        }
        return attempts
    }

    /// EP sizes of a stage of `size` ranks, with the redundancy that each may have.
    private static func expertGroups(
        _ size: Int, _ request: PlanRequest, pp: Int
    ) -> [(ep: Int, redundant: Int)] {
        let experts = request.model.routedExperts
        guard experts > 0 else { return [(1, 0)] }
        // Training uses all ranks; experts may have copies there, and no redundancy.
        guard request.phase != .train else {
            guard size * pp == request.map.rankCount else { return [] }
            return (0 ..< 13).map { 1 << $0 }.filter { size.isMultiple(of: $0) && $0 <= experts }
                .map { ($0, 0) }
        }
        let least = (experts + size - 1) / size * size - experts
        let choices = Set([least, least + size, 32 + least]).filter { $0 <= experts }
        return choices.sorted().map { (size, $0) }
    }

    private static func candidate(
        _ request: PlanRequest, _ target: SearchTarget
    ) throws(PlanError) -> Candidate? {
        let layout = try Layout(request)
        let memory = try layout.memory()
        let (seconds, perRank) =
            request.phase == .train
            ? layout.training(try layout.trainingTimes()) : layout.serving(layout.layerTimes)
        let limit =
            request.phase == .decode ? target.outputSeconds : target.firstTokenSeconds
        if let limit, request.phase != .train, seconds > limit { return nil }
        let ofUnit = perRank * Double(layout.rankCount)
        let units = target.tokensPerSecond.map { max(1, Int(($0 / ofUnit).rounded(.up))) } ?? 1
        guard units * layout.rankCount <= request.map.rankCount else { return nil }
        let price = request.map.hardware?.prices?.rankHourDollars
        if let limit = target.dollarsPerHour, let price,
            price * Double(units * layout.rankCount) > limit
        {
            return nil
        }
        return Candidate(
            ep: layout.ep, pp: request.pp, dp: layout.dp, tp: request.tp,
            redundantExperts: request.redundantExperts, batch: request.batch,
            ranks: layout.rankCount, units: units, seconds: seconds,
            tokensPerSecondPerRank: perRank, memoryBytes: memory.total,
            dollarsPerMillionTokens: price.map { $0 / 3600 / perRank * 1e6 })
    }

    /// The Pareto set as a picture.
    package func plot(_ request: PlanRequest) -> Plot {
        let time = Self.timeName(request.phase)
        return Plot(
            title: "\(request.phase.rawValue) of \(request.model.name) on \(request.map.name)",
            subtitle: "plans that no other plan beats, context \(request.context)",
            horizontal: Plot.Axis("\(time), ms"),
            vertical: Plot.Axis("tokens/s per rank"),
            lines: [
                Plot.Line(
                    "Pareto set",
                    candidates.map { Plot.Point($0.seconds * 1e3, $0.tokensPerSecondPerRank) },
                    style: .dotted)
            ])
    }

    /// What a plan's time is called.
    static func timeName(_ phase: PlanRequest.Phase) -> String {
        switch phase {
        case .decode: "TPOT"
        case .prefill: "TTFT"
        case .train: "step"
        }
    }

    /// The set as a table.
    package func text(_ phase: PlanRequest.Phase) -> String {
        let header = [
            "EP", "PP", "DP", "TP", "redundant", "batch", "ranks", "units",
            Self.timeName(phase), "tokens/s per rank", "memory", "$ per 1M",
        ]
        let rows = candidates.map { one in
            [
                "\(one.ep)", "\(one.pp)", "\(one.dp)", "\(one.tp)", "\(one.redundantExperts)",
                "\(one.batch)", "\(one.ranks)", "\(one.units)",
                Figure.text(one.seconds, .seconds), Figure.digits(one.tokensPerSecondPerRank),
                Figure.text(one.memoryBytes, .bytes),
                one.dollarsPerMillionTokens.map(Figure.digits) ?? "-",
            ]
        }
        let widths = header.indices.map { column in
            ([header] + rows).map { $0[column].count }.max() ?? 0
        }
        let lines = ([header] + rows).map { row in
            zip(row, widths).map { String(repeating: " ", count: $1 - $0.count) + $0 }
                .joined(separator: "  ")
        }
        return lines.joined(separator: "\n")
            + "\n\n\(tried) plans tried, \(fitting) fit, \(reaching) reach the target, "
            + "\(candidates.count) are beaten by none\n"
    }
}
