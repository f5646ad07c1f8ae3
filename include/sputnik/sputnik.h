/* SPDX-License-Identifier: MIT */
/* Everything that libsputnik offers. See the single headers. */
#ifndef SPUTNIK_SPUTNIK_H
#define SPUTNIK_SPUTNIK_H

#include <sputnik/chat.h>
#include <sputnik/experts.h>
#include <sputnik/generate.h>
#include <sputnik/grammar.h>
#include <sputnik/model.h>
#include <sputnik/sampler.h>
#include <sputnik/session.h>
#include <sputnik/status.h>
#include <sputnik/tokenizer.h>

#endif
