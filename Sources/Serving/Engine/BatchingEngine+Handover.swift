/// Prompts that another rank computes for this one, and prompts that this one computes for others.
extension BatchingEngine {
    /// Takes what another thread says of a hand-over.
    func take(_ event: HandoverEvent) {
        switch event {
        case .prefill(let order): prefill(order)
        case .compute(let id): computeHere(id)
        case .arrived(let id, let cachedTokens):
            // A hand-over that was given up may have ended: the present one is waited for.
            guard handovers?.inbox.isWaiting(for: id) != true else { return }
            scheduler.arrived(id, cachedTokens: cachedTokens)
            handovers?.report(.arrived(id))
        case .sent(let id, let attempt):
            guard orders[id]?.attempt == attempt else { return }
            letGo(id)
            handovers?.report(.sent(id, attempt: attempt))
        case .notSent(let id, let attempt, let reason):
            guard orders[id]?.attempt == attempt else { return }
            fail(order: id, reason)
        }
    }

    /// Asks for what the plan of a step leaves to other ranks, and gives up what comes no more.
    ///
    /// - Returns: Whether anything was given up, so that another plan may have more to compute.
    func arrangeHandovers() -> Bool {
        let withdrawn = scheduler.takeWithdrawn()
        guard let handovers else { return false }
        for id in withdrawn {
            if orders[id] != nil {
                fail(order: id, "its blocks were needed by an older request")
            } else if handovers.inbox.drop(id) {
                handovers.report(.abandoned(id))
            }
        }
        for (id, positions, blocks) in scheduler.takeGranted() {
            guard let first = active[id]?.request.handover else { continue }
            handovers.inbox.expect(id, positions, blocks, firstAttempt: first)
            handovers.report(.granted(id, start: positions.lowerBound))
        }
        let overdue = handovers.inbox.overdue(.seconds(configuration.handoverSeconds))
        for id in overdue {
            computeHere(id)
            handovers.countFailure()
            handovers.report(.abandoned(id))
        }
        return !withdrawn.isEmpty || !overdue.isEmpty
    }

    /// Whether requests wait for other ranks, so that a rank without steps must check the time.
    var awaitsEntries: Bool { handovers?.inbox.isWaiting ?? false }

    // MARK: Decode rank

    private func computeHere(_ id: RequestID) {
        handovers?.inbox.drop(id)
        scheduler.computeHere(id)
    }

    // MARK: Prefill rank

    private func prefill(_ order: PrefillOrder) {
        let id = order.request.id
        // An attempt that a later one takes the place of has nobody who waits for it.
        if orders[id] != nil { letGo(id) }
        do throws(ServingError) {
            guard let handovers, active[id] == nil else {
                throw .engine(message: "this rank hands nothing over")
            }
            try order.request.check(for: network)
            var state = try ActiveRequest(order.request) { nil }
            state.fillsDraftEntries = true
            try handovers.begin(order)
            orders[id] = order
            active[id] = state
            try scheduler.submit(order.request)
        } catch {
            guard orders[id] == nil else { return fail(order: id, "\(error)") }
            refuse(order, "\(error)")
        }
    }

    /// Says that a prompt was not begun.
    func refuse(_ order: PrefillOrder, _ reason: String) {
        handovers?.countFailure()
        handovers?.report(.failed(order.request.id, attempt: order.attempt, reason: reason))
    }

    /// Sends what a step completed of a prompt; its blocks stay until all has left.
    func handOver(_ id: RequestID) {
        guard let sequence = scheduler[id] else { return }
        handovers?.advance(
            id, sequence.blocks, computed: sequence.computed,
            cachedTokens: sequence.cachedTokens ?? 0)
    }

    func fail(order id: RequestID, _ reason: String) {
        guard let order = orders[id] else { return }
        letGo(id)
        refuse(order, reason)
    }

    /// Forgets a prompt for another rank; its full blocks stay as a prefix.
    func letGo(_ id: RequestID) {
        handovers?.abort(id)
        orders[id] = nil
        active[id] = nil
        scheduler.remove(id)
    }
}
