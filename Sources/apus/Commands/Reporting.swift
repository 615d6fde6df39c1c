import ArgumentParser
import Checkpoints
import Cluster
import Collectives
import Foundation
import Language
import Models
import Pipeline
import Serving
import Tensors
import Topology
import Training
import Transport

/// Runs a command's work and turns an error of a room into one line on standard error and the
/// exit code people are promised: 1 failed check, 2 bad input, 3 lost rank or deadline.
func reporting<Value>(_ work: () throws -> Value) throws -> Value {
    do {
        return try work()
    } catch let error as ExitCode {
        throw error
    } catch let error as StreamError where error.isClosedPipe {
        // Whoever closed it has seen enough, and needs no word about it.
        throw ExitCode(error.exitCode)
    } catch {
        StandardStream.error.say("apus: \(error)\n")
        throw ExitCode(exitCode(of: error))
    }
}

private func exitCode(of error: any Error) -> Int32 {
    switch error {
    case let error as ClusterError: error.exitCode
    case let error as TransportError: error.exitCode
    case let error as TrainingError: error.exitCode
    case let error as StreamError: error.exitCode
    case is TopologyError, is PlacementError, is ModelError, is TensorError,
        is CheckpointError, is LanguageError,
        is ScheduleError, is ValidationError, is FileError:
        2
    case let error as CollectivesError: error.exitCode
    case let error as ServingError: error.exitCode
    default: 1
    }
}

extension CollectivesError {
    /// 1 for bytes that no rank of this version writes, 2 for what the user gave.
    fileprivate var exitCode: Int32 {
        if case .malformed = self { return 1 }
        return 2
    }
}

extension ServingError {
    /// 2 for what the user gave, 1 for what a server or its engine did.
    fileprivate var exitCode: Int32 {
        switch self {
        case .configuration, .invalidRequest: 2
        default: 1
        }
    }
}
