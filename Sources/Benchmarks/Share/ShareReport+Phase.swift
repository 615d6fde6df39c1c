import Models

extension ShareReport.Limits {
    /// The better of two measurements: nothing makes one too fast.
    func better(_ other: Self) -> Self {
        Self(
            readBytesPerSecond: max(readBytesPerSecond, other.readBytesPerSecond),
            operationsPerSecond: max(operationsPerSecond, other.operationsPerSecond),
            wideOperationsPerSecond: max(wideOperationsPerSecond, other.wideOperationsPerSecond))
    }
}

extension ShareReport.Part {
    init(
        _ part: ForwardPart, seconds: Double, bytes: Double, operations: Double,
        _ limits: ShareReport.Limits
    ) {
        let rate =
            part == .gate ? limits.wideOperationsPerSecond : limits.operationsPerSecond
        let (reading, computing) = (bytes / limits.readBytesPerSecond, operations / rate)
        self.init(
            part: part, seconds: seconds, limitSeconds: max(reading, computing), bytes: bytes,
            operations: operations, isBoundByMemory: reading >= computing)
    }

    /// The same beside other limits.
    fileprivate func beside(_ limits: ShareReport.Limits) -> Self {
        Self(part, seconds: seconds, bytes: bytes, operations: operations, limits)
    }
}

extension ShareReport.Phase {
    /// Takes steps apart.
    init(
        _ options: ShareOptions, _ layout: ShareLayout, _ times: ForwardTimes,
        volumes: ShareVolumes, steps: [Double], limits: ShareReport.Limits
    ) {
        let kinds = layout.layers.map { options.model.kind(layer: $0) }
        func part(_ part: ForwardPart, _ layers: [Int?]) -> ShareReport.Part? {
            let found = layers.compactMap { layer in
                times.figures[.init(part, layer: layer)].map { ($0, layer) }
            }
            guard !found.isEmpty else { return nil }
            let count = Double(found.count)
            func mean(_ value: ([ForwardTimes.Figure], Int?) -> Double) -> Double {
                found.reduce(0) { $0 + value($1.0, $1.1) } / count
            }
            return ShareReport.Part(
                part, seconds: mean { figures, _ in Self.median(figures.map(\.seconds)) },
                bytes: mean { figures, layer in
                    switch part {
                    case .dispatch: layer.map(volumes.dispatchBytes) ?? 0
                    case .combine: volumes.combineBytes
                    default: Double(figures[0].work.readBytes)
                    }
                },
                operations: mean { figures, _ in
                    let work = figures[0].work
                    return Double(work.matrixOperations + work.attentionOperations)
                }, limits)
        }
        var blocks: [ShareReport.Block] = []
        for kind in kinds where !blocks.contains(where: { $0.kind == kind }) {
            let layers = kinds.indices.filter { kinds[$0] == kind }
            blocks.append(
                ShareReport.Block(
                    kind: kind, measured: layers.count,
                    inModel: (0 ..< options.model.layerCount).count {
                        options.model.kind(layer: $0) == kind
                    },
                    parts: ForwardPart.allCases.compactMap { part($0, layers) }))
        }
        let head = part(.head, [nil])
        let held = blocks.reduce(head?.seconds ?? 0) { $0 + Double($1.measured) * $1.seconds }
        self.init(
            tokens: volumes.tokens, expertRows: volumes.expertRows, evenRows: volumes.evenRows,
            expertsWithRows: volumes.expertsWithRows,
            evenExpertsWithRows: volumes.evenExpertsWithRows, copies: volumes.meanCopies,
            blocks: blocks, head: head, restSeconds: max(0, Self.median(steps) - held),
            steps: steps)
    }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2)
            ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }

    /// Sets every part beside limits that were measured later.
    mutating func setLimits(_ limits: ShareReport.Limits) {
        blocks = blocks.map { block in
            ShareReport.Block(
                kind: block.kind, measured: block.measured, inModel: block.inModel,
                parts: block.parts.map { $0.beside(limits) })
        }
        head = head.map { $0.beside(limits) }
    }
}
