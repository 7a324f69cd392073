# bash completion of toolrt.
# @GENERATED@ Do not edit.
#
# Nothing here evaluates what stands on the line or what toolrt prints. It works with
# set -u. Where compopt is missing (before bash 4), a space follows NAME= too.

# Sets commands, options and arguments of the command $1, its words joined by spaces.
_toolrt_command()
{
    commands='' options='' arguments=''
    case $1 in
@COMMANDS@
    esac
    options+=@GLOBAL@
}

# Sets kind to what the option $2 of the command $1 takes, to nothing for a switch.
_toolrt_option()
{
    kind=''
    case "$1 $2" in
@VALUES@
    esac
}

# Takes the quotes off the word $1 as it was typed. Sets value; quote, the one that is
# still open; and base, the part of value that stays when readline replaces its word:
# it breaks words at COMP_WORDBREAKS (before @, after any other) and after an open quote.
_toolrt_unquote()
{
    local raw=$1 char before='' i=0
    value='' quote='' base=''
    while ((i < ${#raw})); do
        char=${raw:i:1}
        i=$((i + 1))
        if [[ $char == "$quote" ]]; then
            quote='' base=$before
        elif [[ $quote == "'" ]]; then
            value+=$char
        elif [[ $char == "\\" ]]; then
            char=${raw:i:1}
            i=$((i + 1))
            [[ $quote != '"' || $char == [\"\$\`\\] ]] || value+="\\"
            value+=$char
        elif [[ -z $quote && $char == [\"\'] ]]; then
            before=$base quote=$char base=$value
        else
            [[ $quote$char != @ || ${COMP_WORDBREAKS-} != *@* ]] || base=$value
            value+=$char
            [[ -n $quote || $char == @ || ${COMP_WORDBREAKS-} != *"$char"* ]] || base=$value
        fi
    done
}

# Joins what bash broke up at COMP_WORDBREAKS: sets words, up to the cursor, as typed.
_toolrt_words()
{
    local line=${COMP_LINE-} before='' word i last=-1
    line=${line:0:${COMP_POINT:-${#line}}}
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]-}
        if [[ -z ${COMP_LINE-} ]]; then
            # Nothing tells whether blanks stand between: a break joins its neighbours.
            [[ $last -gt 0 && ($word == [=:]* || $word == @ || $before == *[=:@]) ]] ||
                last=$((last + 1))
        else
            [[ $i != 0 && $line != [[:space:]]* ]] || last=$((last + 1))
            line=${line#"${line%%[![:space:]]*}"}
            # The word under the cursor ends at the cursor.
            [[ $i != "$COMP_CWORD" ]] || word=$line
            line=${line#"$word"}
        fi
        words[last]=${words[last]-}$word
        before=$word
    done
}

# Offers $1 where it begins as the word under the cursor does.
_toolrt_offer()
{
    local rest=${1#"$base"} typed='' char i
    [[ $1 == "$value"* && -n $rest ]] || return 0
    if [[ -z $quote ]]; then
        printf -v typed %q "$rest"
    else
        for ((i = 0; i < ${#rest}; i++)); do
            char=${rest:i:1}
            case $quote$char in
                '"'[\"\$\`\\]) typed+="\\$char" ;;
                "''") typed+="'\\''" ;;
                *) typed+=$char ;;
            esac
        done
    fi
    COMPREPLY+=("$typed")
}

# Offers each word after $1, with $1 put before it.
_toolrt_offer_words()
{
    local before=$1 word
    shift
    for word; do
        _toolrt_offer "$before$word"
    done
    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace 2>/dev/null || :
}

# Offers the names that toolrt prints, with $1 before each; $2 is their kind.
_toolrt_ask()
{
    local before=$1 name names
    shift
    names=()
    while IFS= read -r name; do
        names+=("$name")
    done < <(command toolrt ${config:+--config "$config"} __complete "$@" 2>/dev/null </dev/null)
    _toolrt_offer_words "$before" ${names[@]+"${names[@]}"}
}

# Offers files, with $1 put before each.
_toolrt_files()
{
    local before=$1 file
    while IFS= read -r file; do
        if [[ $base == "$before" ]] && compopt -o filenames 2>/dev/null; then
            # readline quotes them, and puts a slash after a directory.
            file=$before$file
            COMPREPLY+=("${file#"$base"}")
        elif [[ -d $file ]]; then
            _toolrt_offer "$before$file/"
            compopt -o nospace 2>/dev/null || :
        else
            _toolrt_offer "$before$file"
        fi
    done < <(compgen -f -- "${value#"$before"}")
}

# Offers what a value of the kind $1 can be; $2 stands before it in the same word.
_toolrt_values()
{
    local before=$2 name=${value%%[=@]*} list
    case $1 in
        words:*)
            IFS=, read -ra list <<<"${1#words:}"
            _toolrt_offer_words "$before" "${list[@]}"
            ;;
        text) ;;
        file) _toolrt_files "$before" ;;
        json) [[ ${value#"$before"} != @* ]] || _toolrt_files "$before@" ;;
        arguments)
            if [[ $name == "$value" ]]; then
                _toolrt_ask '' arguments "$tool"
            elif [[ $name != *: ]]; then
                _toolrt_files "${value:0:${#name}+1}"
            fi
            ;;
        filters)
            [[ $value != not:* ]] || before=not:
            case ${value#not:} in
@ASKING@
                *) _toolrt_offer_words "$before" @FIELDS@ ;;
            esac
            ;;
        *) _toolrt_ask "$before" "$1" ;;
    esac
}

_toolrt()
{
    local IFS=$' \t\n' words commands options arguments value base quote
    local path='' kind='' option='' tool='' config='' ended='' place=0 word i
    COMPREPLY=()
    _toolrt_words
    _toolrt_command ''
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        _toolrt_unquote "${words[i]}"
        word=$value
        if [[ -n $kind ]]; then
            [[ ${words[i]} != '~/'* ]] || word=${HOME-}${word:1}
            [[ $option != --config ]] || config=$word
            kind=''
        elif [[ -z $ended && $word == -- ]]; then
            ended=1
        elif [[ -z $ended && $word == --*=* ]]; then
            [[ $word != --config=* ]] || config=${word#*=}
        elif [[ -z $ended && $word == -?* ]]; then
            option=$word
            _toolrt_option "$path" "$option"
        elif [[ $place == 0 && " $commands " == *" $word "* ]]; then
            path+=${path:+ }$word
            _toolrt_command "$path"
        else
            [[ $place != 0 ]] || tool=$word
            place=$((place + 1))
        fi
    done
    _toolrt_unquote "${words[${#words[@]} - 1]}"
    _toolrt_here
    return 0
}

# Offers what can stand under the cursor, after all that _toolrt has read before it.
_toolrt_here()
{
    local before=''
    if [[ -z $kind && -z $ended && $value == --*=* ]]; then
        before=${value%%=*}=
        _toolrt_option "$path" "${before%=}"
    fi
    if [[ -n $kind ]]; then
        _toolrt_values "$kind" "$before"
    elif [[ -z $ended && $value == -* && $value != *=* ]]; then
        _toolrt_offer_words '' $options
    elif [[ -n $commands ]]; then
        [[ $place != 0 ]] || _toolrt_offer_words '' $commands
    else
        for kind in $arguments; do
            if [[ $place == 0 || $kind == *... ]]; then
                _toolrt_values "${kind%...}" ''
                return
            fi
            place=$((place - 1))
        done
        [[ -n $ended || -n $value ]] || _toolrt_offer_words '' $options
    fi
}

complete -F _toolrt toolrt
