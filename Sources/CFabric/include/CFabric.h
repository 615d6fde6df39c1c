// Everything of Linux, UCX, verbs and rdmacm that Swift cannot import on its own: macros, unions,
// variadics and inline atomics. Each shim is one expression or one call; logic is Transport's.
#pragma once
#include "fabric_shared.h"
#include "fabric_socket.h"
#include "fabric_ucx.h"
#include "fabric_verbs.h"
