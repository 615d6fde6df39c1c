package import Models
package import Planner

/// What one rank's share of a model took, and what a cluster of such ranks would.
package struct ShareReport: Codable, Sendable {
    /// Where a figure comes from.
    package enum Origin: String, Codable, Sendable {
        /// Timed in this run.
        case measured
        /// Computed from figures of a file.
        case predicted
        /// Measured blocks, times as many as the model has, and predicted travel.
        case both = "measured + predicted"
    }

    /// What was asked for.
    package struct Request: Codable, Sendable {
        package let model: String
        package let ranks: Int
        package let expertsPerRank: Int
        package let batch: Int
        package let context: Int
        package let prefill: Int
        package let format: String
        package let routing: String
        package let threads: Int
        package let processor: String
        package let seed: UInt64
    }

    /// Bytes of the share.
    package struct Memory: Codable, Sendable {
        /// Packed weights of the blocks.
        package let weights: Int
        /// The head.
        package let head: Int
        /// Cache of the blocks.
        package let cache: Int
        /// Activations, windows and scratch, as estimated before.
        package let working: Int
        /// What was free before anything was made.
        package let free: Int
        /// Resident at the end.
        package internal(set) var resident = 0

        init(weights: Int, head: Int, cache: Int, working: Int, free: Int) {
            self.weights = weights
            self.head = head
            self.cache = cache
            self.working = working
            self.free = free
        }
    }

    /// What the threads can do at best, measured before and after: the better of both.
    package struct Limits: Codable, Sendable {
        /// Bytes per second that they read from memory.
        package var readBytesPerSecond: Double
        /// Floating-point operations per second with activations in bf16.
        package var operationsPerSecond: Double
        /// The same in f32, in which gates compute.
        package var wideOperationsPerSecond: Double
    }

    /// One part of a block, or the head.
    package struct Part: Codable, Sendable {
        package let part: ForwardPart
        /// Median over the steps, mean over the measured blocks.
        package let seconds: Double
        /// The least that the limits allow.
        package let limitSeconds: Double
        /// Bytes that have to be read at least.
        package let bytes: Double
        /// Operations that have to be done.
        package let operations: Double
        /// Whether memory is the limit, and not arithmetic.
        package let isBoundByMemory: Bool
    }

    /// Blocks of one kind.
    package struct Block: Codable, Sendable {
        package let kind: BlockKind
        /// Blocks that were made and measured.
        package let measured: Int
        /// Blocks of the whole model.
        package let inModel: Int
        package let parts: [Part]

        /// Seconds of one block.
        package var seconds: Double { parts.reduce(0) { $0 + $1.seconds } }
    }

    /// Decode of a batch, or prefill of a prompt.
    package struct Phase: Codable, Sendable {
        /// This rank's tokens in a step.
        package let tokens: Int
        /// Rows that this rank's experts got in a block, on average over the blocks.
        package let expertRows: Double
        /// The same where routing is even: tokens x top-k.
        package let evenRows: Double
        /// This rank's experts that had rows in a block, on average.
        package let expertsWithRows: Double
        /// The same where routing is even, n (1 - (1 - 1/n)^rows).
        package let evenExpertsWithRows: Double
        /// Copies of tokens to other nodes in a block, on average.
        package let copies: Double
        package internal(set) var blocks: [Block]
        package internal(set) var head: Part?
        /// Beside blocks and head: embedding, the last norm, moving rows.
        package let restSeconds: Double
        /// Each measured step of the blocks that were made.
        package let steps: [Double]

        /// Computing of the whole model: its blocks, head and rest.
        package var modelSeconds: Double {
            blocks.reduce(0) { $0 + Double($1.inModel) * $1.seconds } + (head?.seconds ?? 0)
                + restSeconds
        }
    }

    /// A figure of the cluster.
    package struct Predicted: Codable, Sendable {
        package let figure: Figure
        package let origin: Origin
    }

    package let request: Request
    package let memory: Memory
    package let limits: Limits
    package let decode: Phase
    /// Nil where no prompt was asked for.
    package let prefill: Phase?
    /// The name of the topology file; nil without one.
    package let topology: String?
    /// Figures of the cluster; empty without a topology file.
    package let cluster: [Predicted]
    /// What the figures leave out.
    package let omissions: [String]
    /// Whether every logit was finite.
    package let isFinite: Bool
}
