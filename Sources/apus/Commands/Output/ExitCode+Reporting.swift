import ArgumentParser
import Checkpoints
import Cluster
import Foundation
import Language
import Models
import Tensors
import Topology

/// Runs a command's work and turns an error of a room into one line on standard error and the
/// status that `ExitStatus` promises.
func reporting<Value>(_ work: () throws -> Value) throws -> Value {
    do {
        return try work()
    } catch let error as ExitCode {
        throw error
    } catch let error as StreamError where error.isClosedPipe {
        // The reader has seen enough, and needs no word about it.
        throw ExitCode(error.exitStatus)
    } catch {
        StandardStream.error.say("apus: \(error)\n")
        throw ExitCode(exitStatus(of: error))
    }
}

private func exitStatus(of error: any Error) -> ExitStatus {
    switch error {
    // Rooms that do not see `ExitStatus`: what they refuse was given by the user.
    case is ModelError, is TensorError, is FileError, is CheckpointError, is LanguageError,
        is ValidationError:
        .badInput
    default: ExitStatus(of: error)
    }
}

extension ExitCode {
    /// What the argument parser ends the program with.
    init(_ status: ExitStatus) { self.init(status.code) }
}
