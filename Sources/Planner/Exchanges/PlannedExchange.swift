/// One dispatch and combine of a block: what each rank sends over each link, and for how long.
package struct PlannedExchange: Hashable, Sendable {
    /// How tokens reach the ranks of their experts.
    package enum Style: String, Codable, CaseIterable, Sendable {
        /// A copy to the rank of every chosen expert (DeepEP's low latency).
        case direct
        /// A copy to every chosen node, spread inside it (DeepEP's normal mode; V3 report, 3.2.2).
        case deduplicated
    }

    /// Tokens that a rank sends.
    package var tokens: Double
    /// Width of a token.
    package var hidden: Int
    /// Where its experts are.
    package var spread: Spread
    /// Copies of experts beyond one of each, all ranks together.
    package var redundantExperts = 0
    /// How tokens travel.
    package var style: Style
    /// How dispatch writes them.
    package var dispatch = WireFormat.fp8
    /// How combine writes them.
    package var combine = WireFormat.bf16

    package init(
        tokens: Double, hidden: Int, spread: Spread, redundantExperts: Int = 0, style: Style,
        dispatch: WireFormat = .fp8, combine: WireFormat = .bf16
    ) {
        self.tokens = tokens
        self.hidden = hidden
        self.spread = spread
        self.redundantExperts = redundantExperts
        self.style = style
        self.dispatch = dispatch
        self.combine = combine
    }

    /// Bytes of one copy of a token on its way out.
    package var dispatchBytes: Double { dispatch.bytes(hidden: hidden) + WireFormat.headerBytes }

    /// Bytes of one copy of a token on its way back.
    package var combineBytes: Double { combine.bytes(hidden: hidden) }

    /// The share of chosen experts with a copy on the token's own node: copies are chosen near.
    package var nearShare: Double {
        guard spread.nodes > 1 else { return 1 }
        let physical = Double(spread.experts + redundantExperts)
        return min(1, physical / Double(spread.experts * spread.nodes))
    }

    /// Copies of a token that leave its node.
    package var remoteCopies: Double {
        guard spread.nodes > 1 else { return 0 }
        switch style {
        case .direct: return Double(spread.active) * (1 - nearShare)
        case .deduplicated: return spread.distinctNodes * (1 - nearShare)
        }
    }

    /// Copies of a token that a rank passes on inside its node, its own share included, as DeepEP
    /// counts them.
    package var localCopies: Double {
        guard spread.ranks > 1 else { return 0 }
        switch style {
        case .direct: return Double(spread.active) * nearShare
        case .deduplicated: return spread.ranks > spread.nodes ? spread.distinctRanks : 0
        }
    }

    /// How long one half of an exchange keeps each link.
    package struct Travel: Hashable, Sendable {
        /// Bytes that a rank sends through its NIC.
        package let nicBytes: Double
        /// Bytes that a rank sends inside its node.
        package let nodeBytes: Double
        /// How long the NIC takes.
        package let nicSeconds: Double
        /// How long the link inside the node takes.
        package let nodeSeconds: Double
        /// What the half costs beyond its bytes.
        package let fixedSeconds: Double

        /// From start to end: both links work at once.
        package var seconds: Double {
            nicBytes + nodeBytes == 0 ? 0 : fixedSeconds + max(nicSeconds, nodeSeconds)
        }
        /// Whether the NIC is what the half waits for.
        package var isBoundByNIC: Bool { nicSeconds >= nodeSeconds }
    }

    /// The way out.
    package func dispatch(over rates: LinkRates) -> Travel { travel(dispatchBytes, rates) }

    /// The way back.
    package func combine(over rates: LinkRates) -> Travel { travel(combineBytes, rates) }

    /// Both halves.
    package func seconds(over rates: LinkRates) -> Double {
        dispatch(over: rates).seconds + combine(over: rates).seconds
    }

    private func travel(_ bytes: Double, _ rates: LinkRates) -> Travel {
        let nic = tokens * remoteCopies * bytes
        let node = tokens * localCopies * bytes
        return Travel(
            nicBytes: nic, nodeBytes: node, nicSeconds: nic / rates.reachedByNIC,
            nodeSeconds: node / rates.reachedInNode, fixedSeconds: rates.fixedSeconds)
    }
}
