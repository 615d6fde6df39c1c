import Collectives
import Planner
import Tensors

/// The planner's travel of one block's dispatch and combine, for the bytes that the product sends.
struct PlannedTravel {
    let dispatch: PlannedExchange.Travel
    let combine: PlannedExchange.Travel

    var seconds: Double { dispatch.seconds + combine.seconds }

    /// What both halves cost beyond their bytes.
    var fixedSeconds: Double { dispatch.fixedSeconds + combine.fixedSeconds }

    /// A token travels once to every other node, and an output home from every expert.
    ///
    /// - Parameters:
    ///   - tokens: Of a rank.
    ///   - out: How tokens are written.
    init(
        tokens: Double, hidden: Int, spread: Spread, dispatch out: WireFormat = .bf16,
        style: PlannedExchange.Style = .deduplicated, over rates: LinkRates
    ) {
        func exchange(_ style: PlannedExchange.Style) -> PlannedExchange {
            PlannedExchange(
                tokens: tokens, hidden: hidden, spread: spread, style: style, dispatch: out,
                combine: .bf16)
        }
        dispatch = exchange(style).dispatch(over: rates)
        combine = exchange(.direct).combine(over: rates)
    }
}

extension PlannedTravel {
    /// Travel of the simulation's exchanges.
    ///
    /// - Parameter nodes: Nodes of an EP group.
    init(_ options: SimulationOptions, tokens: Double, nodes: Int, rates: LinkRates) {
        let spread = Spread(
            experts: options.expertCount, active: options.topK, ranks: options.chosenGroupSize,
            nodes: nodes, groups: options.expertGroups, keptGroups: options.topGroups)
        let isFloat8 = if case .float8e4m3 = options.dispatchCodec { true } else { false }
        self.init(
            tokens: options.chosenGroupSize > 1 ? tokens : 0, hidden: options.hiddenSize,
            spread: spread, dispatch: isFloat8 ? .fp8 : .bf16,
            // Low latency has no carriers: a copy goes to the rank of every expert.
            style: options.mode == .normal ? .deduplicated : .direct, over: rates)
    }
}
