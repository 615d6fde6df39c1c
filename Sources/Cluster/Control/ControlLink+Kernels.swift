import Foundation
import Topology

extension ControlLink {
    /// What came of the offers of all ranks.
    public struct KernelAgreement: Sendable {
        /// The arithmetic of each kind of product that all ranks take.
        public let arithmetics: [String: String]
        /// What the ranks have no common arithmetic for, as sentences.
        public let conflicts: [String]
    }

    /// Agrees with the other ranks of the job on how to compute, or hears what they agreed on
    /// before this one came back.
    ///
    /// - Throws: `deadline` after `limit`; `ended` when the job is over.
    public func agreeOnKernels(limit: Duration) throws(ClusterError) -> KernelAgreement {
        guard let own = configuration.hello.kernels else {
            return KernelAgreement(arithmetics: [:], conflicts: [])
        }
        let agreement: KernelAgreement
        if welcome.returnsTo != nil {
            agreement = KernelAgreement(arithmetics: welcome.kernels ?? [:], conflicts: [])
        } else {
            let offers = try exchange(own, limit: limit)
            agreement = KernelAgreement(
                arithmetics: KernelOffer.agreed(offers), conflicts: KernelOffer.conflicts(offers))
        }
        change { $0.memory.kernels = agreement.arithmetics }
        return agreement
    }

    /// The offers of all ranks, in their order.
    private func exchange(
        _ own: KernelOffer, limit: Duration
    ) throws(ClusterError) -> [KernelOffer] {
        do {
            let blob = Array(try JSONEncoder().encode(own))
            return try allGather(blob, label: "kernels", epoch: epoch.number, limit: limit)
                .map { try JSONDecoder().decode(KernelOffer.self, from: Data($0)) }
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .badInput("a rank's offer of kernels cannot be read: \(error)")
        }
    }
}
